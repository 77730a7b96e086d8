// What workerd and wrangler make of an imported .wasm file.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

// Nothing here calls it: workerd refuses to compile. The module loader, which Node uses too, mentions it.
declare namespace WebAssembly {
  function compile(bytes: BufferSource): Promise<Module>;
}
