// A deployment, as clients from npm live through it: all sockets close, the object begins anew, and whoever comes back in time goes on
// with the tokens it has. A client from npm does not connect again by itself: its page makes another one, and keeps the tokens.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Inbox } from "../shared/covenant-support/inbox.js";
import type { Peer, World } from "../shared/covenant-support/world.js";
import { sidekickSecret, startWorld } from "../shared/covenant-support/world.js";
import { request } from "./support/sidekick.ts";

process.env["SIDEKICK_COMMAND"] =
  "node --import tsx worker/workerd/run-worker.ts --main tests/hosts/cloudflare/support/test-worker.ts";

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

/** As a deployment does it. Resolves when the client has noticed. */
async function deploy(peer: Peer): Promise<void> {
  const { socket } = peer.connection as unknown as { socket: WebSocket };
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  await backDoor("evict?sockets=close");
  await closed;
}

/** What the page does then: another client, the same token. */
async function comeBack(token: string): Promise<{ peer: Peer; messages: Inbox<unknown> }> {
  const peer = world.client();
  const messages = new Inbox<unknown>();
  await peer.client.subscribe("chat", room, token, (data: unknown) => messages.put(data));
  return { peer, messages };
}

test("inside the window a client from npm that comes back goes on with its token: it hears, and speaks in its old context", async () => {
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

test("after the window its token is over; the client is told so, asks the app server for another, and goes on with that", async () => {
  const first = world.client();
  const seat = await first.join("chat", room, { username: "bob" });
  await deploy(first);
  await request(world.sidekick.port, "/health", undefined, {
    method: "GET",
    secret: sidekickSecret,
  }); // the first event of the new object: the window begins
  assert.ok((await tokens()).some(({ key, state }) => key === seat.token && state === 0));
  await backDoor(`clock?at=${Date.now() + 61_000}`); // token_resume_ms and a little more
  const { peer, messages } = await comeBack(seat.token);
  const refused = await peer.received.find("an error", ({ type }) => type === "error");
  assert.match(JSON.stringify(refused), /invalid token/);
  const again = await peer.join("chat", room, { username: "bob" });
  assert.notEqual(again.token, seat.token);
  assert.equal(await world.app.sendMessage("chat", room, "to the new token"), null);
  await again.messages.find("the message", (data) => data === "to the new token");
  assert.ok(messages.items.length <= 1); // the client from npm hands it to whoever listens to that room
});
