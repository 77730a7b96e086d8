// GET /metrics of a node with an engine, as a process: sidekick-serve or SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { compileModuleSync } from "../../worker/src/module/hub.ts";
import { Replayer } from "../../worker/src/module/replay.ts";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import { ofHub, seriesOf } from "../hosts/shared/support/prometheus.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually, request } from "../hosts/shared/support/sidekick.ts";
import { change, changed, type EngineNode, fileForTest, listener, nodeAt } from "./support/node.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

const root = fileURLToPath(new URL("../../", import.meta.url));
const SHARDS = ["up", "down"].map((state) => `sidekick_engine_shards{state="${state}"}`);
const DONE = 'sidekick_engine_answers_total{outcome="done"}';
const REFUSED = 'sidekick_engine_answers_total{outcome="refused"}';
const MESSAGES = "sidekick_engine_messages_total";
const CHANGES_TOLD = 'sidekick_engine_resyncs_total{told="changes"}';
const CALLS = ["sync", "join", "rejoin", "catch_up"].map(
  (purpose) => `sidekick_engine_calls_total{purpose="${purpose}"}`,
);
const LOSSES = "sidekick_engine_losses_total";
const PENDING = "sidekick_engine_calls_pending";

async function metrics({ listening }: EngineNode): Promise<string> {
  const { status, body } = await request(listening, "/metrics", undefined, { method: "GET" });
  assert.equal(status, 200);
  return body;
}

/** Waits until a series has the value. */
async function has(node: EngineNode, series: string, value: number): Promise<void> {
  let body = "";
  await eventually(
    async () => seriesOf((body = await metrics(node)), series) === value,
    () => `${series} ${value} in:\n${body}`,
  );
}

test("the metrics count an engine's shards, calls, answers, messages and losses", async () => {
  const redis = await startRedis();
  const [node, other] = await Promise.all([nodeAt(redis), nodeAt(redis)]);
  const client = await listener(node, "r");
  const before = await metrics(node);
  assert.deepEqual(
    SHARDS.map((series) => seriesOf(before, series)),
    [1, 0],
  );
  assert.ok(seriesOf(before, DONE) >= 2, "to sync and to join");
  assert.equal(seriesOf(before, LOSSES), 0);
  assert.deepEqual(
    [...CALLS, CHANGES_TOLD].map((series) => seriesOf(before, series)),
    [1, 1, 0, 0, 0],
  );

  assert.equal((await change(other, "r")).status, 200);
  assert.equal(await changed(client), "r");
  await has(node, PENDING, 0);
  const now = await metrics(node);
  assert.ok(seriesOf(now, MESSAGES) > seriesOf(before, MESSAGES), now);
  assert.equal(seriesOf(now, REFUSED), 0);

  await redis.says("client", "kill", "type", "pubsub");
  await has(node, LOSSES, 1);
  await has(node, SHARDS[0]!, 1);
  await has(node, CHANGES_TOLD, 1);
  const back = await metrics(node);
  assert.deepEqual(
    CALLS.map((series) => seriesOf(back, series)),
    [2, 1, 1, 1],
  );
  await redis.kill();
  await has(node, SHARDS[1]!, 1);
  await has(node, LOSSES, 2);
  await redis.restart();
  await has(node, SHARDS[0]!, 1);
  await has(node, PENDING, 0);
});

test("sidekick-trace metrics prints the same text for the recording of a node with an engine", async () => {
  const redis = await startRedis();
  const recording = fileForTest("live.jsonl");
  const node = await nodeAt(redis, { flags: ["--record", recording] });
  const client = await listener(node, "r", "s");
  assert.equal((await change(node, "r")).status, 200);
  assert.equal(await changed(client), "r");
  await redis.says("client", "kill", "type", "pubsub");
  await has(node, LOSSES, 1);
  await has(node, SHARDS[0]!, 1);
  const scraped = ofHub(await metrics(node));
  node.kill("SIGTERM");
  await node.exit;

  // The engine's heartbeats go on, so the line of the scrape is looked for.
  const lines = readFileSync(recording, "utf8").trimEnd().split("\n");
  const module = readFileSync(`${root}worker/module/sidekick.wasm`);
  const replayer = new Replayer(compileModuleSync(module));
  const end = lines.findIndex((line) => {
    assert.equal(replayer.line(Buffer.from(line)), undefined, line);
    return line.startsWith('{"in"') && replayer.metrics() === scraped;
  });
  assert.notEqual(end, -1, `after no input of the recording, the metrics are\n${scraped}`);
  const next = lines.findIndex((line, at) => at > end && line.startsWith('{"in"'));
  const part = fileForTest("part.jsonl", `${lines.slice(0, next).join("\n")}\n`);
  const printed = execFileSync(`${root}build/native/sidekick-trace`, ["metrics", part]);
  assert.equal(printed.toString(), scraped);
});
