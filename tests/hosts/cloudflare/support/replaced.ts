/** The object with some members replaced; its own methods see the original. */
export function replaced<T extends object>(
  target: T,
  members: Partial<Record<keyof T, unknown>>,
): T {
  return new Proxy(target, {
    get(object, name) {
      if (name in members) return members[name as keyof T];
      const member: unknown = Reflect.get(object, name);
      return typeof member === "function" ? member.bind(object) : member;
    },
  });
}
