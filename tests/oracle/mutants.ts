// Our module with a bug in its core: one of the simulator's mutations (tests/sim/mutations), built
// as scripts/build builds the module for WASI hosts, except for the one changed file. Everything
// else is linked from build/wasi.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { compileModuleSync } from "../../worker/src/module/index.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const build = join(root, "build/wasi");
const run = promisify(execFile);

/** The commands with which ninja builds the module, one per line. */
async function commands(): Promise<string[]> {
  const { stdout } = await run("ninja", ["-C", build, "--quiet", "-t", "commands", "sidekick"], {
    maxBuffer: 1 << 24,
  });
  return stdout.trim().split("\n");
}

/** Builds the module with `tests/sim/mutations/<name>.patch` applied. */
export async function mutant(name: string): Promise<WebAssembly.Module> {
  const patch = join(root, "tests/sim/mutations", `${name}.patch`);
  const source = /^--- a\/(.*)$/m.exec(readFileSync(patch, "utf8"))![1]!;
  const all = await commands();
  // By the end of its path: CMake keeps the path by which the clone was entered, which may contain
  // a link.
  const compile = all.find((command) => command.endsWith(`/${source}`))!;
  const object = / -o (\S+) -c /.exec(compile)![1]!;
  const link = all.at(-1)!.split(" && ")[1]!; // the commands that follow shrink and check it
  const folder = mkdtempSync(join(tmpdir(), "sidekick-mutant-"));
  try {
    const mutated = join(folder, basename(source));
    await run("patch", [
      "--quiet",
      "--force",
      "--no-backup-if-mismatch",
      `--output=${mutated}`,
      join(root, source),
      patch,
    ]);
    await run(
      "sh",
      ["-c", compile.replace(/ -MD -MT \S+ -MF \S+ -o .*/, ` -w -o ${mutated}.obj -c ${mutated}`)],
      { cwd: build },
    );
    await run(
      "sh",
      [
        "-c",
        link
          .replace(` ${object} `, ` ${mutated}.obj `)
          .replace(/ -o sidekick\.wasm .*/, ` -o ${folder}/sidekick.wasm`),
      ],
      { cwd: build },
    );
    return compileModuleSync(readFileSync(join(folder, "sidekick.wasm")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
