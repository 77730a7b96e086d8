// Under node:cluster, where several processes share a port, the Node host needs an engine.
import assert from "node:assert/strict";
import cluster from "node:cluster";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("refuses to start in a worker of node:cluster without an engine, and says what to do", async () => {
  cluster.setupPrimary({
    exec: fileURLToPath(new URL("../../../worker/dist/node/cli.js", import.meta.url)),
    execArgv: [],
    args: ["--port", "0", "--host", "127.0.0.1", "--secret", "s"],
    silent: true,
  });
  const worker = cluster.fork();
  let output = "";
  for (const stream of [worker.process.stdout!, worker.process.stderr!])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise((resolve) => worker.process.on("close", resolve));
  assert.equal(status, 1, output);
  assert.match(
    output,
    /sidekick-serve: Sidekick cannot run in a worker of node:cluster without --engine: .*exec_mode "fork"/,
  );
  assert.doesNotMatch(output, /listening on/);
});
