// The recording of the object, at its bounds: much to restore, an answer that is long in coming, more than one call could carry.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { startAppServer } from "../hosts/support/app-server.ts";
import { closeEverything, health, registerToken, request, startSidekick, TestClient } from "./support/sidekick.ts";
import type { Options, WorkerdSidekick } from "./support/sidekick.ts";

const running: { stop(): Promise<unknown> }[] = [];
after(closeEverything);
afterEach(async () => void (await Promise.all(running.splice(0).map((one) => one.stop()))));

async function start(options: Options): Promise<WorkerdSidekick> {
  const sidekick = await startSidekick(options);
  running.push(sidekick);
  return sidekick;
}

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

test("a restore takes one row of the recording, however many tokens there are", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "10000000" } });
  for (let i = 0; i < 50; i++) await registerToken(sidekick.port, `token-${i}`);
  const before = await sidekick.rows("trace");
  await sidekick.evict("hibernate");
  await health(sidekick.port);
  assert.equal(await sidekick.rows("trace"), before + 2); // the restore, and the request
  assert.equal(await assertReplays(sidekick, await fetchTrace(sidekick.port)), 50 + 50 + 1);
});

test("while the app server owes an answer the recording stops at its bound; with the answer another begins, and both replay", async () => {
  const answers: (() => void)[] = [];
  const app = await startAppServer((response) => void answers.push(() => response.writeHead(204).end()));
  running.push({ stop: () => app.close() });
  const bytesMax = 20_000;
  const sidekick = await start({ env: { SIDEKICK_SERVER_URL: app.url, SIDEKICK_TRACE_BYTES: String(bytesMax) } });
  const { port } = sidekick;
  await registerToken(port, "slow");
  const client = await TestClient.connect(port);
  await client.subscribe("slow");
  client.send({ type: "send", token: "slow", channel: "chat", params: {}, data: "answer this later" });
  for (let i = 0; i < 200; i++) {
    client.send({ type: "listen", resources: [`todo/${i % 10}`] });
    await client.next();
  }
  assert.equal(answers.length, 1);
  const cut = await fetchTrace(port);
  assert.ok(cut.length > bytesMax / 2 && cut.length < 1.2 * bytesMax, `${cut.length} bytes`);
  await assertReplays(sidekick, cut);
  answers[0]!();
  while ((await health(port)).forwards > 0);
  const goesOn = await fetchTrace(port);
  assert.equal(goesOn.match(/^\{"trace":1,/gm)?.length, 2);
  await assertReplays(sidekick, goesOn);
});

test("a recording of more than 32 MiB comes whole", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "200000000" } });
  const { port } = sidekick;
  const resource = "x".repeat(1000);
  const body = JSON.stringify({ resources: Array.from({ length: 5000 }, (_, i) => `${resource}${i}`) });
  for (let i = 0; i < 8; i++) assert.equal((await request(port, "/resources", body)).status, 200);
  const trace = await fetchTrace(port);
  assert.ok(trace.length > 33 << 20, `${trace.length} bytes`);
  assert.equal(await assertReplays(sidekick, trace), 8);
});
