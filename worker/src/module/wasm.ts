// Types of WebAssembly for the public signatures. TypeScript declares them in the library "DOM" only,
// and whoever imports this package under Node may not have that.

/** WebAssembly.Module where the program has that type. */
export type WasmModule = typeof globalThis extends {
  WebAssembly: { Module: { prototype: infer Module } };
}
  ? Module
  : object;

/** What is needed of a WebAssembly.Memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
