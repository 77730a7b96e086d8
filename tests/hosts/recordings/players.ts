// Everything that replays a recording: natively, in Node, in workerd, in wasmtime. Owns no
// expectation.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Ran } from "../../module/support.ts";
import { root, run, wasmtime } from "../../module/support.ts";
import type { WorkerdSidekick } from "../cloudflare/support/sidekick.ts";

export interface Player {
  readonly name: string;
  /** Replays these files of a folder, and prints each name with its result. */
  replay(files: readonly string[], folder: string): Promise<Ran>;
}

/** A player's result for one file. */
export interface Verdict {
  readonly inputs: number;
  /** Where it reports a truncated recording. */
  readonly cuts: readonly { readonly line: number; readonly linesDue: number }[];
}

const build = `${root}build`;

export function players(workerd: WorkerdSidekick): readonly Player[] {
  return [
    command("native: sidekick-trace replay", [`${build}/native/sidekick-trace`, "replay"]),
    command("Node: covenant-sidekick-replay", [
      process.execPath,
      `${root}worker/dist/node/replay-cli.js`,
    ]),
    command("Node: the same with wasi-sdk's module", [
      process.execPath,
      `${root}worker/dist/node/replay-cli.js`,
      "--module",
      `${build}/sidekick.wasi.wasm`,
    ]),
    { name: "workerd", replay: (files, folder) => inWorkerd(workerd, files, folder) },
    command("wasmtime: the WASI command sidekick-trace replay", [
      wasmtime,
      "run",
      "--dir",
      ".",
      `${build}/sidekick-trace.wasm`,
      "replay",
    ]),
    command("wasmtime: wasi-sdk's module", [
      `${build}/native/sidekick-replay-wasmtime`,
      `${build}/sidekick.wasi.wasm`,
    ]),
    command("wasmtime: Emscripten's module", [
      `${build}/native/sidekick-replay-wasmtime`,
      `${build}/sidekick.emscripten.wasm`,
    ]),
    command("node:wasi: the WASI command sidekick-trace replay", [
      process.execPath,
      "--no-warnings",
      `${root}tests/module/node-wasi.mjs`,
      `${build}/sidekick-trace.wasm`,
      "replay",
    ]),
  ];
}

/** By file. Ignores other output. */
export function verdicts(printed: string): Record<string, Verdict> {
  const said = [
    ...printed.matchAll(/^(.+):(\d+): the recording was cut off here; (\d+) more lines are due/gm),
  ];
  const cutsOf = (file: string) =>
    said
      .filter(([, name]) => name === file)
      .map(([, , line, due]) => ({ line: Number(line), linesDue: Number(due) }));
  const files = [...printed.matchAll(/^(.+): (\d+) inputs/gm)];
  return Object.fromEntries(
    files.map(([, file, inputs]) => [file!, { inputs: Number(inputs), cuts: cutsOf(file!) }]),
  );
}

function command(name: string, [file, ...args]: readonly string[]): Player {
  return { name, replay: (files, folder) => run(file!, [...args, ...files], folder) };
}

/** In the format of the commands. */
async function inWorkerd(
  workerd: WorkerdSidekick,
  files: readonly string[],
  folder: string,
): Promise<Ran> {
  let [status, stdout, stderr] = [0, "", ""];
  for (const file of files) {
    const { difference, inputs, cuts } = await workerd.test(
      "replay",
      readFileSync(join(folder, file)),
    );
    if (difference === undefined) {
      stdout += `${file}: ${inputs} inputs, the same\n`;
      for (const { line, linesDue } of cuts)
        stdout +=
          `${file}:${line}: the recording was cut off here; ` + `${linesDue} more lines are due\n`;
    } else {
      status = 1;
      stderr += `${file}:${difference.line}: ${JSON.stringify(difference)}\n`;
    }
  }
  return { status, stdout, stderr };
}
