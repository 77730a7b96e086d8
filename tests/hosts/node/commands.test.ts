// Signals of the commands that are no server of their own: the demo, and the replay.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { atEnd, closeEverything } from "../shared/support/left-open.ts";
import { eventually } from "../shared/support/sidekick.ts";

after(closeEverything);

const root = fileURLToPath(new URL("../../..", import.meta.url));

function start(words: string[]) {
  const child = spawn(process.execPath, words, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  atEnd(() => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.on("close", (code, signal) => resolve(code ?? signal)),
  );
  return { child, exit, output: () => output };
}

for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"] as const) {
  test(`the demo exits on ${signal}, and goes on after SIGUSR1 and SIGUSR2`, async () => {
    const secrets = ["--sidekick-secret", "a", "--server-secret", "b"];
    const demo = start(["--import", "tsx", "worker/demo/server.ts", "--port", "0", ...secrets]);
    await eventually(() => demo.output().includes("demo: http"));
    const url = /http:\/\/localhost:\d+/.exec(demo.output())![0];
    for (const ignored of ["SIGUSR1", "SIGUSR2"] as const) {
      demo.child.kill(ignored);
      assert.equal((await fetch(url)).status, 200);
    }
    demo.child.kill(signal);
    assert.equal(await demo.exit, 0);
    assert.doesNotMatch(demo.output(), /[Dd]ebugger/);
  });
}

test("the replay opens no debugger on SIGUSR1", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-"));
  atEnd(() => rmSync(folder, { recursive: true }));
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const replay = start(["worker/dist/node/replay-cli.js", pipe]);
  // Opening for writing fails until the replay reads.
  let writer = -1;
  await eventually(() => {
    try {
      writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {}
    return writer >= 0;
  });
  replay.child.kill("SIGUSR1");
  closeSync(writer);
  assert.equal(await replay.exit, 2);
  assert.match(replay.output(), /^covenant-sidekick-replay: .*\n$/);
});
