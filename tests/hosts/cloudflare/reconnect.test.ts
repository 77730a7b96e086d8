// A deployment as npm clients experience it: all sockets close, the object starts again, and
// clients that reconnect in time continue with their tokens. The npm client does not reconnect by
// itself: its page creates another client and keeps the tokens.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Inbox } from "../shared/covenant-support/inbox.js";
import type { Peer, World } from "../shared/covenant-support/world.js";
import { sidekickSecret, startWorld } from "../shared/covenant-support/world.js";
import { request } from "./support/sidekick.ts";

process.env["SIDEKICK_COMMAND"] =
  "node --import tsx worker/workerd/run-worker.ts --main " +
  "tests/hosts/cloudflare/support/test-worker.ts";

let world: World;
before(async () => void (world = await startWorld()));
after(() => world?.stop());

const room = { roomId: "1" };

const backDoor = async (path: string, body = ""): Promise<any> => {
  const answer = await request(world.sidekick.port, `/test/${path}`, body);
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body);
};
const tokens = (): Promise<{ key: string; state: number; expires_at: number }[]> =>
  backDoor("sql", "SELECT key, state, expires_at FROM token ORDER BY key");

/** Does what a deployment does. Resolves when the client has noticed. */
async function deploy(peer: Peer): Promise<void> {
  const { socket } = peer.connection as unknown as { socket: WebSocket };
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  await backDoor("evict?sockets=close");
  await closed;
}

/** The page's reaction: another client, the same token. */
async function comeBack(token: string): Promise<{ peer: Peer; messages: Inbox<unknown> }> {
  const peer = world.client();
  const messages = new Inbox<unknown>();
  await peer.client.subscribe("chat", room, token, (data: unknown) => messages.put(data));
  return { peer, messages };
}

test("within the window, a reconnecting npm client continues with its token: it receives, and sends in its old context", async () => {
  const first = world.client();
  const seat = await first.join("chat", room, { username: "ann" });
  await deploy(first);
  const { peer, messages } = await comeBack(seat.token);
  await peer.received.find("subscribed", ({ type }) => type === "subscribed");
  assert.equal(await world.app.sendMessage("chat", room, "after the deployment"), null);
  await messages.find("the message", (data) => data === "after the deployment");
  await peer.client.send("chat", room, seat.token, { say: "still me" });
  const heard = await world.heard.find("still me", ({ data }) =>
    JSON.stringify(data).includes("still me"),
  );
  assert.deepEqual(heard.context, { username: "ann" });
  assert.deepEqual(await tokens(), [{ key: seat.token, state: 2, expires_at: 0 }]);
  assert.deepEqual(peer.errors(), []);
  await peer.client.disconnect();
});

test("after the window the token has expired; the client is told, asks the app server for another, and continues", async () => {
  const first = world.client();
  const seat = await first.join("chat", room, { username: "bob" });
  await deploy(first);
  await request(world.sidekick.port, "/health", undefined, {
    method: "GET",
    secret: sidekickSecret,
  }); // the new object's first event: the window starts
  assert.equal((await tokens()).find(({ key }) => key === seat.token)?.state, 0);
  await backDoor(`clock?at=${Date.now() + 61_000}`); // a little more than token_resume_ms
  const { peer, messages } = await comeBack(seat.token);
  const refused = await peer.received.find("an error", ({ type }) => type === "error");
  assert.match(JSON.stringify(refused), /invalid token/);
  const again = await peer.join("chat", room, { username: "bob" });
  assert.notEqual(again.token, seat.token);
  assert.equal(await world.app.sendMessage("chat", room, "to the new token"), null);
  await again.messages.find("the message", (data) => data === "to the new token");
  // The npm client passes it to the listeners of that room.
  assert.ok(messages.items.length <= 1, `${messages.items.length} messages`);
});
