// The module that ships with this package. By itself, so that `covenant-sidekick/testing` does not
// load the server.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileModuleSync } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";

/** @throws Error if the file is not there, as after bundling; the text says what to do */
export function readDefaultModule(): WasmModule {
  const { file, bytes } = readDefaultBytes();
  return compile(bytes, file, "run scripts/build in a checkout, or reinstall the package");
}

/** As readDefaultModule, not compiled. */
export function readDefaultBytes(): { readonly file: string; readonly bytes: Buffer } {
  try {
    // Inside the try: a bundle in CommonJS has no import.meta.url.
    const file = fileURLToPath(new URL("../../module/sidekick.wasm", import.meta.url));
    return { file, bytes: readFileSync(file) };
  } catch (error) {
    throw new Error(
      "module/sidekick.wasm cannot be read: after bundling, pass the module (see " +
        '"Bundling" in the README of the package); in a checkout, run scripts/build; else ' +
        "reinstall the package",
      { cause: error },
    );
  }
}

export function readModule(file: string): WasmModule {
  return compile(readFileSync(file), file, "build it with scripts/build, or copy it again");
}

function compile(bytes: Buffer, file: string, advice: string): WasmModule {
  try {
    return compileModuleSync(bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${file}: expected the Sidekick module; ${advice} (${reason})`, {
      cause: error,
    });
  }
}
