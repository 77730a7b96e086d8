// node-wasi.mjs COMMAND.wasm ARGUMENT...: runs a WASI preview 1 command in this folder, as `wasmtime run --dir . COMMAND.wasm ARGUMENT...` does.
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [command, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [command, ...args], preopens: { ".": "." } });
const module = new WebAssembly.Module(readFileSync(command));
process.exitCode = wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
