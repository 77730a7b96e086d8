// The scripts that Redis runs for the hub: the files of worker/engine.
import { readdirSync, readFileSync } from "node:fs";

/**
 * Each file begins with its `#!lua` line; common.lua is inserted after that line.
 * @returns the sources by name
 * @throws Error if the files are missing, as in a bundle; the text says what to do
 */
export function readScripts(): ReadonlyMap<string, string> {
  try {
    // Inside the try: a bundle in CommonJS has no import.meta.url.
    const folder = new URL("../../engine/", import.meta.url);
    const common = readFileSync(new URL("common.lua", folder), "utf8");
    const names = readdirSync(folder)
      .filter((file) => file.endsWith(".lua") && file !== "common.lua")
      .map((file) => file.slice(0, -".lua".length));
    return new Map(
      names.map((name) => {
        const [first = "", ...rest] = readFileSync(new URL(`${name}.lua`, folder), "utf8").split(
          "\n",
        );
        return [name, `${first}\n${common}${rest.join("\n")}`];
      }),
    );
  } catch (error) {
    throw new Error(
      "the scripts of the engine cannot be read: a bundle has none; install the package " +
        "covenant-sidekick beside it",
      { cause: error },
    );
  }
}
