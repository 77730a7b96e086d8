// scripts/bench before it builds, and the end of a bench program.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { peers, targets } from "./targets.ts";

const { SIDEKICK_LOCKED: _, ...env } = process.env;
/** Has the lock, as a script that builds. */
const builder = spawn("bash", ["-c", "source scripts/env.sh && lock && echo && exec cat"], {
  env,
  stdio: ["pipe", "pipe", "inherit"],
});
before(() => once(builder.stdout, "data"));
after(() => builder.kill());

/** The timeout ends one that waits for the lock. */
const bench = (...args: string[]) =>
  spawnSync("scripts/bench", args, { env, encoding: "utf8", timeout: 60_000 });

test("the help does not wait for a build, and names every server", () => {
  const { status, stdout } = bench("--against", "HEAD", "--help");
  assert.equal(status, 0);
  for (const { id } of [...targets, ...peers]) assert.match(stdout, new RegExp(`\\b${id}\\b(?!-)`));
});

test("--list does not wait for a build", () => {
  assert.match(bench("--list").stdout, /^fan-out 100$/m);
  assert.match(bench("--against", "HEAD", "--list").stdout, /^node: /m);
  assert.match(bench("--hello", "--list").stdout, /^memory$/m);
  assert.match(bench("--inspector", "--list").stdout, /^scroll$/m);
  assert.match(bench("--peers", "--list").stdout, /^fan-out to 1,000$/m);
  assert.match(bench("--cluster", "--list").stdout, /^resync$/m);
});

test("a wrong option or commit is an error before the build", () => {
  for (const [words, status, error] of [
    ["--target nosuch", 2, /^bench: --target: expected one of .*, got nosuch; see .*--help\n$/],
    ["--only nosuch", 1, /^bench: --only: no scenario has nosuch in its name; see .*--list\n$/],
    ["--hello --only nosuch", 2, /^bench: --only: expected one of .*, got nosuch; see .*--help\n$/],
    [
      "--inspector --only nosuch",
      2,
      /^bench: --only: expected one of .*, got nosuch; see .*--help\n$/,
    ],
    ["--peers --target bun", 2, /^bench: --target: expected one of .*, got bun; see .*--help\n$/],
    ["--peers --rounds 0", 2, /^bench: --rounds: expected 1 to 99, got 0; see .*--help\n$/],
    [
      "--cluster --target ours",
      2,
      /^bench: --target: expected one of .*, got ours; see .*--help\n$/,
    ],
    [
      "--against nosuch",
      2,
      /^bench: --against: expected a commit .*, got 'nosuch'; see .*--help\n$/,
    ],
    ["--against=", 2, /^bench: --against: expected a commit .*, got ''; see .*--help\n$/],
  ] as const) {
    const ran = bench(...words.split(" "));
    assert.match(ran.stderr, error);
    assert.equal(ran.status, status);
  }
});

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  test(`${signal} ends a bench with status ${status}, and the processes of its builds`, async () => {
    const program = `
      import { Child, run, runBench } from "./tests/bench/processes.ts";
      const build = "trap 'echo ended' TERM; sh -c 'echo started; exec sleep 1000' & wait";
      runBench(async () => {
        new Child("server", ["sleep", "1000"], {});
        await run(["sh", "-c", build], { stdio: ["ignore", "inherit", "inherit"] });
      });`;
    const node = ["--import", "tsx", "--input-type=module", "-e", program];
    const child = spawn(process.execPath, node, { stdio: ["ignore", "pipe", "pipe"] });
    let [output, errors] = ["", ""];
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (text.includes("started")) child.kill(signal);
    });
    // After the last process that has the output has ended, too.
    assert.deepEqual(await once(child, "close"), [status, null]);
    assert.equal(errors, `bench: ended by ${signal}\n`);
    assert.equal(output, "started\nended\n");
  });
}
