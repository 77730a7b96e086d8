/** The entries of a list such as SIDEKICK_ALLOWED_ORIGINS. The module checks them. */
export function originsOf(list: string): string[] {
  return list
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "");
}
