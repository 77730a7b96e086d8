// node-wasi.mjs COMMAND.wasm ARGUMENT...: runs a WASI preview 1 command in this folder, like
// `wasmtime run --dir . --env TERM COMMAND.wasm ARGUMENT...`.
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [command, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [command, ...args],
  env: { TERM: process.env.TERM ?? "" },
  preopens: { ".": "." },
});
const module = new WebAssembly.Module(readFileSync(command));
// Each import in a plain function: Node 20 aborts silently if a module whose memory has grown far
// calls one directly.
const plain = (functions) =>
  Object.fromEntries(
    Object.entries(functions).map(([name, called]) => [name, (...values) => called(...values)]),
  );
const imports = Object.fromEntries(
  Object.entries(wasi.getImportObject()).map(([name, functions]) => [name, plain(functions)]),
);
process.exitCode = wasi.start(new WebAssembly.Instance(module, imports));
