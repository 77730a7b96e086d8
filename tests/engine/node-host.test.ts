// The Node host between its hub and an engine.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import cluster from "node:cluster";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { environment } from "../hosts/shared/support/command.ts";
import { atEnd, closeEverything } from "../hosts/shared/support/left-open.ts";
import {
  eventually,
  recordedLines,
  request,
  startTestSidekick,
} from "../hosts/shared/support/sidekick.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);

const worker = fileURLToPath(new URL("../../worker/", import.meta.url));

async function folderForTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  atEnd(() => rm(folder, { recursive: true }));
  return folder;
}

/** A Sidekick and the names of its inputs so far, without what the engine says. */
async function recorded(port: number, traps = false) {
  const recordFile = join(await folderForTest(), "trace");
  const sidekick = await startTestSidekick({
    engine: { url: `redis://127.0.0.1:${port}` },
    recordFile,
    ...(traps && { traps: { restore: false } }),
  });
  const inputs = () => {
    const names = recordedLines(recordFile).map(({ in: input, trace }) => (trace ? "new" : input));
    const said = ["engine_message", "engine_answer"];
    return names.filter((name) => name !== undefined && !said.includes(name));
  };
  return {
    sidekick,
    recordFile,
    is: (...names: string[]) =>
      eventually(
        () => inputs().join() === names.join(),
        () => `${names.join()}; got ${inputs().join()}`,
      ),
  };
}

test("tells the hub when the engine comes and goes, and passes the heartbeat on", async () => {
  const redis = await startRedis();
  const { is, recordFile } = await recorded(redis.port);
  await is("new", "begin", "restored", "engine_up");
  await eventually(() =>
    recordedLines(recordFile).some(
      ({ in: name, shard, topic, body }) =>
        name === "engine_message" && shard === 0 && topic === "" && /^beat 2 1 /.test(body),
    ),
  );
  await redis.says("client", "kill", "type", "pubsub");
  await is("new", "begin", "restored", "engine_up", "engine_down", "engine_up");
});

test("a hub that replaces a trapped one finds the engine down and reconnects", async () => {
  const redis = await startRedis();
  const { sidekick, is } = await recorded(redis.port, true);
  await is("new", "begin", "restored", "engine_up");
  assert.equal((await request(sidekick.port, "/resources", "trap!")).status, 500);
  const before = ["new", "begin", "restored", "engine_up", "http_request"];
  await is(...before, "new", "begin", "restored", "engine_up");
});

test("a hub that replaces a trapped one gets no message that came with the trap", async () => {
  const redis = await startRedis();
  const { is, recordFile } = await recorded(redis.port, true);
  await is("new", "begin", "restored", "engine_up");
  const inbox = `sidekick:1:0:i:${recordedLines(recordFile)[0].config.node}`;
  const publish = (body: string) => `redis.call('publish', '${inbox}', '${body}') `;
  await redis.says("eval", publish("trap!") + publish("after"), "0");
  const up = ["new", "begin", "restored", "engine_up"];
  await is(...up, ...up);
  const bodies = recordedLines(recordFile).flatMap(({ body }) => body ?? []);
  assert.ok(bodies.includes("trap!"), `trapped in ${bodies}`);
  assert.ok(!bodies.includes("after"), `passed on ${bodies}`);
});

test("nodes have different names, which the hub's configuration and Redis agree on", async () => {
  const redis = await startRedis();
  const nodes = await Promise.all([recorded(redis.port), recorded(redis.port)]);
  for (const { is } of nodes) await is("new", "begin", "restored", "engine_up");
  const names = nodes.map(({ recordFile }) => recordedLines(recordFile)[0].config.node);
  assert.equal(new Set(names).size, 2);
  const clients = await redis.says("client", "list", "type", "pubsub");
  for (const name of names) {
    assert.match(name, /^[0-9a-f]{16}$/);
    assert.match(clients, new RegExp(` name=sidekick-node:sidekick:1:0:${name} `));
    assert.equal(await redis.says("exists", `sidekick:1:0:n:${name}`), "1");
  }
});

test("runs in workers of node:cluster, which share one engine", async () => {
  const redis = await startRedis();
  cluster.setupPrimary({
    exec: join(worker, "dist/node/cli.js"),
    execArgv: [],
    args: [
      ...["--port", "0", "--host", "127.0.0.1", "--secret", "s"],
      ...["--engine", `redis://127.0.0.1:${redis.port}`],
    ],
    silent: true,
  });
  let output = "";
  for (const { process } of [cluster.fork(), cluster.fork()]) {
    atEnd(async () => {
      process.kill("SIGTERM");
      await new Promise((resolve) => process.on("close", resolve));
    });
    for (const stream of [process.stdout!, process.stderr!])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  }
  await eventually(
    () => output.match(/the engine is up/g)?.length === 2,
    () => output,
  );
});

test("names the command that installs the package of the engine", async () => {
  const folder = await folderForTest();
  for (const name of ["dist", "module", "engine", "package.json"])
    await cp(join(worker, name), join(folder, name), { recursive: true });
  const ws = join(worker, "../node_modules/ws");
  await cp(ws, join(folder, "node_modules/ws"), { recursive: true });
  const cli = join(folder, "dist/node/cli.js");
  const flags = ["--port", "0", "--secret", "s", "--engine", "redis://127.0.0.1:1"];
  const child = spawn(process.execPath, [cli, ...flags], { env: environment() });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise((resolve) => child.on("close", resolve));
  assert.match(
    output,
    /: --engine requires the package @redis\/client; run: npm install @redis\/client@[0-9.]+\n/,
  );
  assert.equal(status, 2);
});

test("the error names the version that these tests use", async () => {
  const { devDependencies } = (await import("../../package.json", { with: { type: "json" } }))
    .default;
  const source = await import("../../worker/src/engine/redis-package.ts");
  assert.equal(source.VERSION, devDependencies["@redis/client"]);
});
