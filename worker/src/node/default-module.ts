// The module that ships with this package. By itself, so that `covenant-sidekick/testing` does not
// load the server.
import { readFileSync } from "node:fs";
import { compileModuleSync } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";

/** @throws Error if the file is not there, as after bundling; the text says what to do */
export function readDefaultModule(): WasmModule {
  let bytes: Buffer;
  try {
    // Inside the try: a bundle in CommonJS has no import.meta.url.
    bytes = readFileSync(new URL("../../module/sidekick.wasm", import.meta.url));
  } catch (error) {
    throw new Error(
      "module/sidekick.wasm cannot be read: after bundling, pass the module (see " +
        '"Bundling" in the README of the package); in a checkout, run scripts/build; else ' +
        "reinstall the package",
      { cause: error },
    );
  }
  return compileModuleSync(bytes);
}
