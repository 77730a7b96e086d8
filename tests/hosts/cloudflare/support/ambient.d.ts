// The part of `workerd:unsafe` that the tests use. It exists only in workerd, with --experimental
// and `unsafe_module`.
declare module "workerd:unsafe" {
  const unsafe: {
    evict(stub: unknown, options: { webSockets: "hibernate" | "close" }): Promise<void>;
  };
  export default unsafe;
}
