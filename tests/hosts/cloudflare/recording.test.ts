// The object's recording: it replays, only the secret's owner can fetch it, and it is bounded.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { Replayer } from "../../../worker/src/module/replay.ts";
import { ofHub } from "../shared/support/prometheus.ts";
import { module } from "../shared/support/sidekick.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  closeEverything,
  eventually,
  health,
  post,
  registerToken,
  request,
  SECRET,
  start,
  startApp,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";
import { watchedWorker } from "./support/workers.ts";

after(closeEverything);
afterEach(stopAll);

/** A recording starts with `begin`, and `restored` follows the restore. */
const STARTS = 2;

async function fetchTrace(port: number): Promise<string> {
  const { status, body } = await request(port, "/trace", undefined, { method: "GET" });
  assert.equal(status, 200);
  return body;
}

async function assertReplays(sidekick: WorkerdSidekick, trace: string): Promise<number> {
  const { difference, inputs } = await sidekick.test("replay", Buffer.from(trace));
  assert.equal(difference, undefined, JSON.stringify(difference));
  return inputs;
}

test("a request for the metrics is not recorded, and a replay gives the same text", async () => {
  const sidekick = await start({
    env: { SIDEKICK_TRACE_BYTES: "1000000", SIDEKICK_METRICS_SECRET: "for-metrics" },
  });
  const { port } = sidekick;
  const ask = (secret: string) => request(port, "/metrics", undefined, { method: "GET", secret });
  await registerToken(port, "t");
  const client = await TestClient.connect(port);
  await client.subscribe("t");
  assert.equal((await ask("for-metrics")).status, 200);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await post(port, "/resources", { resources: ["todo/1"] });
  await client.next();
  const { body, headers } = await ask("for-metrics");
  assert.equal(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
  const trace = await fetchTrace(port);
  assert.ok(!trace.includes("/metrics"), "asking is recorded");
  const replayer = new Replayer(module);
  for (const line of trace.trimEnd().split("\n"))
    assert.equal(replayer.line(Buffer.from(line)), undefined, line);
  assert.equal(replayer.metrics(), ofHub(body));
});

test("the recording replays across hibernation, a reset and a trap, and only the secret's owner can fetch it", async () => {
  const sidekick = await start({
    env: { SIDEKICK_TRACE_BYTES: "1000000" },
    limits: { auth_failure_delay_ms: 1 },
  });
  const { port } = sidekick;
  await registerToken(port, "token-in-the-recording");
  const client = await TestClient.connect(port);
  await client.subscribe("token-in-the-recording");
  await sidekick.evict("hibernate");
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await request(port, "/message", "trap!");
  await post(port, "/resources", { resources: ["todo/1"] });
  await sidekick.evict("close");
  await client.closed;
  await health(port);
  assert.equal(
    (await request(port, "/trace", undefined, { method: "GET", secret: "wrong" })).status,
    401,
  );
  const trace = await fetchTrace(port);
  assert.equal(trace.match(/^\{"trace":2,/gm)?.length, 4);
  assert.ok(!trace.includes(SECRET), "the trace contains the secret");
  // The test hook causes the trap, not the module: the input itself replays without one.
  const withoutTrap = trace
    .split("\n")
    .filter((line) => !line.includes("trap!"))
    .join("\n");
  const inputs = await assertReplays(sidekick, withoutTrap);
  assert.ok(inputs > 8, `${inputs} inputs`);
  assert.match(trace, /"in":"http_request".*trap!.*\n\{"trace":2,/);
  const lines = trace.split("\n");
  const fatal = lines.findIndex((line) => line.includes("trap!"));
  const isFirst = lines.slice(0, fatal).map((line) => line.startsWith('{"trace"'));
  const first = isFirst.lastIndexOf(true);
  const { epoch } = JSON.parse(lines[first + 1]!);
  const place = `GET /trace, line ${fatal - first + 1} of the recording with epoch ${epoch}`;
  await eventually(async () => sidekick.output().includes(`recording="${place}"`));
});

test("the recording is bounded: old ones are dropped, and the rest still replays", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "20000" } });
  const { port } = sidekick;
  const client = await TestClient.connect(port);
  for (let i = 0; i < 300; i++) {
    client.send({ type: "listen", resources: [`todo/${i % 10}`] });
    await client.next();
  }
  const trace = await fetchTrace(port);
  assert.ok(trace.length < 2 * 20000, `${trace.length} bytes`);
  assert.match(trace, /^\{"trace":2,/);
  const inputs = await assertReplays(sidekick, trace);
  assert.ok(inputs > 20, `${inputs} inputs`);
});

test("a restore takes one row of the recording, however many tokens there are, and small inputs share rows", async () => {
  const sidekick = await start({ main: watchedWorker, env: { SIDEKICK_TRACE_BYTES: "10000000" } });
  for (let i = 0; i < 50; i++) await registerToken(sidekick.port, `token-${i}`);
  await fetchTrace(sidekick.port); // writes pending lines
  const before = await sidekick.test("recorded-rows");
  assert.ok(before < 20, `${before} rows for 50 inputs`);
  await sidekick.evict("hibernate");
  await health(sidekick.port);
  const trace = await fetchTrace(sidekick.port);
  assert.equal(await sidekick.test("recorded-rows"), before + 2); // the restore and the request
  assert.equal(await assertReplays(sidekick, trace), STARTS + 50 + STARTS + 50 + 1);
});

test("nothing waits for a recording: no write of it locks the output gate, even when one starts and old ones are dropped", async () => {
  const sidekick = await start({ main: watchedWorker, env: { SIDEKICK_TRACE_BYTES: "20000" } });
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  const hubs = await sidekick.test("hubs");
  await sidekick.test("gating-writes");
  for (let i = 0; i < 200; i++) {
    await post(sidekick.port, "/resources", { resources: ["todo/1", `todo/${i}`] });
    await client.next();
  }
  assert.deepEqual(await sidekick.test("gating-writes"), []);
  const more = (await sidekick.test("hubs")) - hubs;
  assert.ok(more > 1, `${more} more hubs`);
  const inputs = await assertReplays(sidekick, await fetchTrace(sidekick.port));
  assert.ok(inputs > 20 && inputs < 200, `${inputs} inputs`);
  await registerToken(sidekick.port, "token");
  assert.equal(
    (await sidekick.test("gating-writes")).length,
    1,
    "a token must be stored before it is confirmed, and such writes are seen",
  );
});

test("a long recording is written after pending deliveries and does not delay the next ones", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "20000" } });
  const hubs = await sidekick.test("hubs");
  assert.equal(
    (
      await post(sidekick.port, "/resources", {
        resources: Array.from({ length: 20 }, () => "x".repeat(1000)),
      })
    ).status,
    200,
  );
  // the second one, even without further events
  await eventually(async () => (await sidekick.test("hubs")) > hubs + 1);
  const trace = await fetchTrace(sidekick.port);
  assert.equal(trace.match(/^\{"trace":2,/gm)?.length, 2);
  assert.equal(await assertReplays(sidekick, trace), STARTS + 1 + STARTS);
});

test("when storage rejects the recording, it ends, no more lines are produced, and everything else continues", async () => {
  const sidekick = await start({ main: watchedWorker, env: { SIDEKICK_TRACE_BYTES: "1000000" } });
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await fetchTrace(sidekick.port); // writes pending lines
  await sidekick.test("refuse-recording");
  await eventually(async () => {
    await post(sidekick.port, "/resources", { resources: ["todo/1"] });
    assert.deepEqual(await client.next(), { type: "updated", resource: "todo/1" });
    return isDeepStrictEqual(await sidekick.test("recording"), [true, false]);
  });
  const told = () => sidekick.output().match(/the recording ends here/g)?.length ?? 0;
  await eventually(() => told() > 0);
  assert.equal(told(), 1);
  assert.equal(await assertReplays(sidekick, await fetchTrace(sidekick.port)), STARTS + 2);
});

test("of inputs longer than the recording limit, at most two remain", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "200000" } });
  for (let i = 0; i < 6; i++) {
    assert.equal(
      (
        await post(sidekick.port, "/resources", {
          resources: ["x".repeat(1000)],
          more: `${i}`.repeat(300_000),
        })
      ).status,
      200,
    );
    await eventually(async () => (await sidekick.test("hubs")) >= i + 2);
  }
  const trace = await fetchTrace(sidekick.port);
  assert.ok(
    trace.length > 300_000 && trace.length < 2 * 200_000 + 2 * 302_000,
    `${trace.length} bytes`,
  );
  assert.ok(trace.includes("5555"), "the latest is present");
  const inputs = await assertReplays(sidekick, trace);
  assert.ok(inputs <= 2 * (STARTS + 1), `${inputs} inputs`);
});

test("a restore longer than the recording limit does not replace the hub at every input", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "20000" } });
  const { port } = sidekick;
  for (let i = 0; i < 200; i++)
    await registerToken(port, `token-${i}`, "chat", { roomId: String(i) }, "c".repeat(100));
  await sidekick.evict("hibernate");
  const client = await TestClient.connect(port);
  const hubs = await sidekick.test("hubs");
  const listen = async (times: number) => {
    for (let i = 0; i < times; i++) {
      client.send({ type: "listen", resources: [`todo/${i % 10}`] });
      await client.next();
    }
  };
  await listen(20); // less than half of 20,000 bytes
  assert.equal(await sidekick.test("hubs"), hubs);
  await listen(200);
  const made = (await sidekick.test("hubs")) - hubs;
  assert.ok(made > 0 && made < 20, `${made} hubs`);
  const trace = await fetchTrace(port);
  const inputs = await assertReplays(sidekick, trace);
  assert.ok(inputs > 200, `${inputs} inputs`);
});

test("while a forward is in flight, the recording stops at its limit; after the answer another starts, and both replay", async () => {
  const answers: (() => void)[] = [];
  const app = await startApp((response) => void answers.push(() => response.writeHead(204).end()));
  const bytesMax = 20_000;
  const sidekick = await start({
    env: { SIDEKICK_SERVER_URL: app.url, SIDEKICK_TRACE_BYTES: String(bytesMax) },
  });
  const { port } = sidekick;
  await registerToken(port, "slow");
  const client = await TestClient.connect(port);
  await client.subscribe("slow");
  client.send({
    type: "send",
    token: "slow",
    channel: "chat",
    params: {},
    data: "answer this later",
  });
  for (let i = 0; i < 200; i++) {
    client.send({ type: "listen", resources: [`todo/${i % 10}`] });
    await client.next();
  }
  await eventually(() => answers.length === 1);
  const cut = await fetchTrace(port);
  assert.ok(cut.length > bytesMax / 2 && cut.length < 1.2 * bytesMax, `${cut.length} bytes`);
  await assertReplays(sidekick, cut);
  answers[0]!();
  await eventually(async () => (await health(port)).forwards === 0);
  let goesOn = "";
  await eventually(
    async () => (goesOn = await fetchTrace(port)).match(/^\{"trace":2,/gm)?.length === 2,
  );
  await assertReplays(sidekick, goesOn);
});

test("a recording of more than 32 MiB is returned whole", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "200000000" } });
  const { port } = sidekick;
  const resource = "x".repeat(1000);
  const body = JSON.stringify({
    resources: Array.from({ length: 5000 }, (_, i) => `${resource}${i}`),
  });
  for (let i = 0; i < 8; i++) assert.equal((await request(port, "/resources", body)).status, 200);
  const trace = await fetchTrace(port);
  assert.ok(trace.length > 33 << 20, `${trace.length} bytes`);
  assert.equal(await assertReplays(sidekick, trace), STARTS + 8);
});
