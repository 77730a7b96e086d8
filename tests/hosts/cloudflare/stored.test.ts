// Rows that an object of an earlier version has stored.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, test } from "node:test";
import { eventually } from "../shared/support/sidekick.ts";
import { closeEverything, post, startWithApp, stopAll, TestClient } from "./support/sidekick.ts";

afterEach(stopAll);
after(closeEverything);

// The Worker of commit 408fdf0 wrote rows-before-abi-2.json: its rows, blobs as text, and the
// attachments of two sockets. `now` is its clock, which the test moves to today; $X stands for
// 1,000 letters x.
test("rows and attachments written before ABI version 2 are restored, every token and resource", async () => {
  const file = new URL("rows-before-abi-2.json", import.meta.url);
  const text = readFileSync(file, "utf8").replaceAll("$X", "x".repeat(1000));
  const stored = JSON.parse(text);
  for (const row of stored.token) if (row.expires_at > 0) row.expires_at += Date.now() - stored.now;
  const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
  const { port } = sidekick;
  const [first, second] = [await TestClient.connect(port), await TestClient.connect(port)];
  await sidekick.test("replace-stored", JSON.stringify(stored));
  await sidekick.evict("hibernate");

  // The first client holds two tokens and listens to two resources, since it left a third.
  await post(port, "/message", { channel: "chat", params: {}, data: 1 });
  assert.deepEqual(await first.next(), { type: "message", channel: "chat", params: {}, data: 1 });
  await post(port, "/resources", { resources: ["gone", "ä"] });
  assert.deepEqual(await first.next(), { type: "updated", resource: "ä" });
  await post(port, "/resources", { resources: ["r"] });
  assert.deepEqual(await first.next(), { type: "updated", resource: "r" });
  // The second one's record is in rows.
  await post(port, "/message", { channel: "chat", params: { room: "ü" }, data: 2 });
  assert.equal((await second.next()).data, 2);
  for (let i = 0; i < 18; i++) {
    const resource = `${i}-${"x".repeat(1000)}`;
    await post(port, "/resources", { resources: [resource] });
    assert.deepEqual(await second.next(), { type: "updated", resource });
  }

  const tokens = [
    { client: first, token: "free", params: { room: "a" }, context: null },
    { client: first, token: "freed", params: { room: "e" }, context: [1.5, true] },
    {
      client: first,
      token: "held",
      params: { room: "b, c/d:e\\" },
      context: { user: "ä", roles: [1, null, "x"] },
    },
    { client: first, token: "subscribed", params: {}, context: "text" },
    { client: second, token: "token-ü😀", params: { room: "ü" }, context: null },
  ];
  for (const { client, token, params } of tokens) {
    await client.subscribe(token);
    client.send({ type: "send", token, channel: "chat", params, data: token });
  }
  await eventually(() => app.forwarded.length === tokens.length);
  const forwarded = app.forwarded.map(({ body }) => JSON.parse(body));
  for (const { token, params, context } of tokens)
    assert.deepEqual(
      forwarded.find(({ data }) => data === token),
      { channel: "chat", params, data: token, context },
    );
  assert.equal(sidekick.output(), "");
});
