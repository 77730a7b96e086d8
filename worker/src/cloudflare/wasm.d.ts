// The type of an imported .wasm file in workerd and wrangler.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

// Never called here, because workerd refuses to compile. The module loader, which Node shares,
// mentions it.
declare namespace WebAssembly {
  function compile(bytes: BufferSource): Promise<Module>;
}
