// The part of `workerd:unsafe` that the tests use. It exists in workerd only, and there with --experimental and `unsafe_module`.
declare module "workerd:unsafe" {
  const unsafe: {
    evict(stub: unknown, options: { webSockets: "hibernate" | "close" }): Promise<void>;
  };
  export default unsafe;
}
