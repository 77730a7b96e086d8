// `--inspect` with an engine: a reader changes nothing. The same on Node and in C++.
import assert from "node:assert/strict";
import * as http from "node:http";
import { after, afterEach, test } from "node:test";
import { inspectorOf } from "../hosts/shared/support/command.ts";
import { atEnd, closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually } from "../hosts/shared/support/sidekick.ts";
import { change, changed, listener, nodeAt } from "./support/node.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

test("readers of the inspector do not disturb the connection to the engine", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([nodeAt(redis, { flags: ["--inspect", "0"] }), nodeAt(redis)]);
  const client = await listener(a, "r");
  const connections = () => redis.says("client", "list", "type", "pubsub");
  const before = await connections();
  let text = "";
  for (let reader = 1; reader <= 3; reader++) {
    text = "";
    const request = http.get(new URL("live", inspectorOf(a.output())), (response) =>
      response.setEncoding("utf8").on("data", (chunk) => (text += String(chunk))),
    );
    atEnd(() => request.destroy());
    request.on("error", () => {});
    await eventually(() => text.includes('"in":"restored"'));
    assert.equal((await change(b, "r")).status, 200);
    assert.equal(await changed(client), "r");
  }
  await eventually(() => /"in":"engine_message"[^]*"out":"send"/.test(text));
  const ids = (list: string) => list.match(/^id=\d+/gm);
  assert.deepEqual(ids(await connections()), ids(before));
  assert.equal(a.output().match(/the engine is up/g)!.length, 1);
});
