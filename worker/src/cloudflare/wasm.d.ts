// The type of an imported .wasm file in workerd and wrangler.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

// Never called here, because workerd forbids compiling. The module loader, which is shared with
// Node, refers to it.
declare namespace WebAssembly {
  function compile(bytes: BufferSource): Promise<Module>;
}
