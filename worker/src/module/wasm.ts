// Types of WebAssembly for the public signatures. TypeScript declares them only in the library
// "DOM", which a program for Node may not use.

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
