// The Worker's own hub, which passes the app server's requests to the shards: it answers each,
// whatever becomes of a shard, or of this hub.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { REFUSED } from "./support/scaled.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  closeEverything,
  eventually,
  post,
  registerToken,
  start,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

const SHARD = "sidekick:s0";
/** Longer than any test takes. */
const LONG_MS = 600_000;
const TRAP = { channel: "chat", params: {}, data: "trap in the Worker!" };

/** The Worker's hub is replaced: the next one numbers its calls from 1. */
const trapHub = async ({ port }: WorkerdSidekick) =>
  assert.equal((await post(port, "/message", TRAP)).status, 500);

const startOne = (limits = {}) =>
  start({ env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" }, limits });

const change = ({ port }: WorkerdSidekick) => post(port, "/resources", { resources: ["todo/1"] });

const register = ({ port }: WorkerdSidekick, token: string) =>
  post(port, "/connection", { token, channel: "chat", params: {} });

test("a request to a misconfigured shard gets 500, and the hub forgets it", async () => {
  const callsMax = 16;
  const sidekick = await startOne({ engine_calls_max: callsMax });
  assert.equal((await change(sidekick)).status, 200);
  await sidekick.test(`misconfigure?hub=${SHARD}`);
  for (let i = 0; i <= callsMax; i++) {
    const { status, body } = await change(sidekick);
    assert.equal(`${status} ${body.slice(0, 34)}`, "500 This Sidekick is not configured; i");
  }
  assert.match(sidekick.output(), /a test makes this setting wrong/);
  await sidekick.test(`configure?hub=${SHARD}`);
  // The hub has those that got 500 for engine_wait_ms more, and makes their calls again.
  await eventually(async () => (await change(sidekick)).status === 200);
});

test("the error of a shard is in the log, and not in the answer to the app server", async () => {
  const sidekick = await startOne();
  await sidekick.test(`refuse?hub=${SHARD}`);
  const { status, body } = await change(sidekick);
  assert.equal(status, 503);
  assert.match(body, /the engine returned an error; see the log of this Sidekick/);
  await eventually(() => REFUSED.test(sidekick.output()));
});

test("an answer to a call of a hub that trapped answers no request of the next hub", async () => {
  const sidekick = await startOne({ engine_timeout_ms: LONG_MS });
  await registerToken(sidekick.port, "token-held");
  const client = await TestClient.connect(sidekick.port);
  await client.subscribe("token-held");
  await trapHub(sidekick);
  await sidekick.test(`hold-calls?hub=${SHARD}`);
  const calls = () => sidekick.test(`calls?hub=${SHARD}`);
  const before = await calls();
  const first = register(sidekick, "token-new");
  await eventually(async () => (await calls()) === before + 1);
  await trapHub(sidekick);
  assert.equal((await first).status, 500);
  const second = register(sidekick, "token-held");
  await eventually(async () => (await calls()) === before + 2);
  await sidekick.test(`pass-call?hub=${SHARD}`); // that of the hub that trapped
  await sidekick.test(`pass-call?hub=${SHARD}`);
  assert.equal((await second).status, 409);
});

test("a hub that replaces a trapped one learns that a shard is still unreachable", async () => {
  const sidekick = await startOne({ engine_wait_ms: 0 });
  assert.equal((await change(sidekick)).status, 200);
  await sidekick.test(`unreachable?hub=${SHARD}`);
  assert.match((await change(sidekick)).body, /engine connection lost/);
  await trapHub(sidekick);
  assert.match((await change(sidekick)).body, /engine connection lost/);
  await sidekick.test(`reachable?hub=${SHARD}`);
  await eventually(async () => (await change(sidekick)).status === 200);
});

test("the first timer may be set without a request", async () => {
  const sidekick = await startOne({ engine_keep_ms: 1000 });
  assert.equal((await change(sidekick)).status, 200);
  assert.equal(sidekick.output(), "");
});
