// Each mutation of the client is caught: by a directed case of its guarantee, or by the simulation.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import type { Mutation } from "./mutations.ts";
import { mutations } from "./mutations.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** A longer run is killed, which fails its test. On a busy machine it takes seconds. */
const DIRECTED_MS = 120_000;
/** On a busy machine it takes minutes. */
const SIMULATION_MS = 600_000;

/** Runs a program against a mutation. Returns what it printed. */
async function run(mutation: Mutation, timeout: number, ...words: string[]): Promise<string> {
  const { file, from, to } = mutation;
  // In the repository, for its packages.
  const folder = join(root, `build/client-mutant-${process.pid}`);
  try {
    await cp(join(root, "worker/src/client"), folder, { recursive: true });
    const source = await readFile(join(folder, file), "utf8");
    assert.equal(source.split(from).length, 2, `${file} does not have once: ${from}`);
    await writeFile(
      join(folder, file),
      source.replace(from, () => to),
    );
    const child = spawn(process.execPath, ["--import", "tsx", "--test-force-exit", ...words], {
      cwd: root,
      env: { ...process.env, SIDEKICK_CLIENT: join(folder, "index.ts"), NODE_TEST_CONTEXT: "" },
      stdio: ["ignore", "pipe", "inherit"],
      timeout,
      killSignal: "SIGKILL",
    });
    const closed = once(child, "close");
    let output = "";
    for await (const chunk of child.stdout) output += chunk;
    const [, signal] = await closed;
    assert.equal(signal, null, `killed after ${timeout / 1000} s:\n${output}`);
    return output;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

for (const [guarantee, bugs] of Object.entries(mutations)) {
  for (const mutation of bugs) {
    test(`${guarantee}: ${mutation.bug}`, async () => {
      if (mutation.mode === undefined) {
        const directed = "tests/client/guarantees.test.ts";
        const only = `--test-name-pattern=\\b${guarantee}\\b`;
        const output = await run(mutation, DIRECTED_MS, "--test-reporter=tap", only, directed);
        assert.match(output, new RegExp(`^not ok \\d+ - .*\\b${guarantee}\\b`, "m"));
      } else {
        const words = ["--mode", mutation.mode, "--seeds", "200", "--findings", "200"];
        words.push("--until", guarantee);
        const output = await run(mutation, SIMULATION_MS, "tests/client/sim.ts", ...words);
        assert.match(output, new RegExp(`^ *${guarantee}: `, "m"));
      }
    });
  }
}
