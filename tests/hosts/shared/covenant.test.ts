// The unmodified npm client and server through a Sidekick in its own process, over real HTTP and
// WebSockets. Black box: covenant-support/sidekick-process.ts says how to run it against another
// host.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import type { SidekickOutgoingMessage } from "@covenant-rpc/core/sidekick/protocol";
import { httpServerToSidekick } from "@covenant-rpc/server/interfaces/http";
import { Inbox } from "./covenant-support/inbox.js";
import { afterTheWire, ionValues } from "./covenant-support/ion-values.js";
import { listensTo, sidekickSecret, startWorld, type World } from "./covenant-support/world.js";
import { closeEverything } from "./support/left-open.js";

let world: World;
before(async () => {
  world = await startWorld();
});
afterEach(() => world.hangUp());
after(async () => {
  await world?.stop();
  await closeEverything();
});

let rooms = 0;
const newRoom = () => ({ roomId: `room-${++rooms}` });
const alice = { username: "alice" };
const bob = { username: "bob" };

describe("connect", () => {
  it("gives a token that the Sidekick accepts", async () => {
    const peer = world.client();
    const room = newRoom();
    await peer.join("chat", room, alice);
    assert.deepEqual(peer.received.items, [{ type: "subscribed", channel: "chat", params: room }]);
  });

  it("is refused with the text and fault of reject()", async () => {
    const room = newRoom();
    const result = await world.client().client.connect("chat", room, { username: "mallory" });
    assert.equal(result.success, false);
    assert.deepEqual(result.error, {
      channel: "chat",
      params: room,
      fault: "client",
      message: `mallory may not enter ${room.roomId}`,
    });
  });

  it("is rejected if the request does not match the schema", async () => {
    const result = await world.client().client.connect("chat", newRoom(), { username: 7 } as never);
    assert.equal(result.success, false);
    assert.equal(result.error.fault, "client");
  });

  it("works when onConnect returns nothing, and the context stays undefined", async () => {
    const peer = world.client();
    const params = { x: "no", y: "context" };
    const seat = await peer.join("grid", params, undefined);
    await seat.send("hello");
    const heard = await world.heard.find("hello", ({ params: p }) => p["y"] === "context");
    assert.equal(heard.context, undefined);
  });
});

describe("channels", () => {
  it("deliver a message of the server to a subscriber", async () => {
    const room = newRoom();
    const seat = await world.client().join("chat", room, alice);
    assert.equal(await world.app.sendMessage("chat", room, "welcome"), null);
    assert.deepEqual(await seat.messages.count("messages", 1), ["welcome"]);
  });

  it("forward a message sent before subscribing, with its context", async () => {
    const peer = world.client();
    const room = newRoom();
    const token = await peer.token("chat", room, alice);
    await peer.client.send("chat", room, token, { say: "early" });
    const heard = await world.heard.find("early", ({ params }) => params["roomId"] === room.roomId);
    assert.deepEqual(heard, {
      channel: "chat",
      params: room,
      data: { say: "early" },
      context: alice,
    });
    assert.deepEqual(peer.errors(), []);
  });

  it("let a client subscribe with a token already used to send", async () => {
    const peer = world.client();
    const room = newRoom();
    const token = await peer.token("chat", room, alice);
    await peer.client.send("chat", room, token, { say: "early" });
    await peer.client.subscribe("chat", room, token, () => undefined);
    await peer.received.find("subscribed", ({ type }) => type === "subscribed");
    assert.deepEqual(peer.errors(), []);
  });

  it("forward a message sent after subscribing, and broadcast the answer of onMessage", async () => {
    const peer = world.client();
    const room = newRoom();
    const seat = await peer.join("chat", room, alice);
    await seat.send({ say: "hello" });
    const heard = await world.heard.find("hello", ({ params }) => params["roomId"] === room.roomId);
    assert.deepEqual(heard, {
      channel: "chat",
      params: room,
      data: { say: "hello" },
      context: alice,
    });
    assert.deepEqual(await seat.messages.count("messages", 1), [{ from: "alice", said: "hello" }]);
  });

  it("broadcast to several clients, once each and in order", async () => {
    const room = newRoom();
    const peers = [world.client(), world.client(), world.client(), world.client()];
    const seats = await Promise.all(
      peers.map((peer, n) => peer.join("chat", room, { username: `user-${n}` })),
    );
    const sent = Array.from({ length: 30 }, (_, n) => `message ${n}`);
    for (const text of sent) await world.app.sendMessage("chat", room, text);
    // A fence alone does not wait for messages that come from another node.
    await Promise.all(seats.map((seat) => seat.messages.count("messages", sent.length)));
    await Promise.all(peers.map((peer) => peer.fence()));
    for (const seat of seats) assert.deepEqual(seat.messages.items, sent);
  });

  it("carry a conversation both ways", async () => {
    const room = newRoom();
    const [a, b] = await Promise.all([
      world.client().join("chat", room, alice),
      world.client().join("chat", room, bob),
    ]);
    await a.send({ say: "ping?" });
    await b.messages.count("messages", 1);
    await b.send({ say: "pong!" });
    const expected = [
      { from: "alice", said: "ping?" },
      { from: "bob", said: "pong!" },
    ];
    assert.deepEqual(await a.messages.count("messages", 2), expected);
    assert.deepEqual(await b.messages.count("messages", 2), expected);
  });

  it("forward the messages of one client in the order sent", async () => {
    const room = newRoom();
    const seat = await world.client().join("chat", room, alice);
    const sent = Array.from({ length: 50 }, (_, n) => n);
    await Promise.all(sent.map((say) => seat.send({ say })));
    assert.deepEqual(
      await seat.messages.count("messages", sent.length),
      sent.map((said) => ({ from: "alice", said })),
    );
  });

  it("keep rooms apart", async () => {
    const [here, there] = [newRoom(), newRoom()];
    const [a, b] = [world.client(), world.client()];
    const [inHere, inThere] = await Promise.all([
      a.join("chat", here, alice),
      b.join("chat", there, bob),
    ]);
    await world.app.sendMessage("chat", here, "for here");
    await world.app.sendMessage("chat", there, "for there");
    await Promise.all([inHere, inThere].map((seat) => seat.messages.count("messages", 1)));
    await Promise.all([a.fence(), b.fence()]);
    assert.deepEqual(inHere.messages.items, ["for here"]);
    assert.deepEqual(inThere.messages.items, ["for there"]);
  });

  it("keep params apart that look alike when joined into one text", async () => {
    const [p, q] = [
      { x: "1,y:2", y: "3" },
      { x: "1", y: "2,y:3" },
    ];
    const [a, b] = [world.client(), world.client()];
    const seats = await Promise.all([a.join("grid", p, null), b.join("grid", q, null)]);
    await world.app.sendMessage("grid", p, "for p");
    await world.app.sendMessage("grid", q, "for q");
    await Promise.all(seats.map((seat) => seat.messages.count("messages", 1)));
    await Promise.all([a.fence(), b.fence()]);
    const messages = (peer: typeof a) =>
      peer.received.items.filter(({ type }) => type === "message");
    assert.deepEqual(messages(a), [{ type: "message", channel: "grid", params: p, data: "for p" }]);
    assert.deepEqual(messages(b), [{ type: "message", channel: "grid", params: q, data: "for q" }]);
  });

  it("accept params in any order of keys", async () => {
    const seat = await world.client().join("grid", { x: "1", y: "2" }, null);
    await world.app.sendMessage("grid", { y: "2", x: "1" }, "found you");
    assert.deepEqual(await seat.messages.count("messages", 1), ["found you"]);
  });

  it("end with unsubscribe, for that client only", async () => {
    const room = newRoom();
    const [a, b] = [world.client(), world.client()];
    const [leaving, staying] = await Promise.all([
      a.join("chat", room, alice),
      b.join("chat", room, bob),
    ]);
    await world.app.sendMessage("chat", room, "both");
    await leaving.messages.count("messages", 1);
    leaving.leave();
    assert.deepEqual(await a.received.find("unsubscribed", ({ type }) => type === "unsubscribed"), {
      type: "unsubscribed",
      channel: "chat",
      params: room,
    });
    await world.app.sendMessage("chat", room, "only one");
    await staying.messages.count("messages", 2);
    await Promise.all([a.fence(), b.fence()]);
    assert.deepEqual(staying.messages.items, ["both", "only one"]);
    assert.equal(a.received.items.filter(({ type }) => type === "message").length, 1);
  });
});

describe("errors", () => {
  for (const fault of ["client", "server"] as const) {
    it(`error() with fault ${fault} reaches the sender with its own text, and nobody else`, async () => {
      const room = newRoom();
      const [a, b] = [world.client(), world.client()];
      const seat = await a.join("chat", room, alice);
      await b.join("chat", room, bob);
      const text = `No "${fault}" today: \\ ünd 🎉\nsecond line`;
      assert.deepEqual(await a.errorOf(seat.send({ fail: text, fault })), {
        channel: "chat",
        params: room,
        fault,
        message: text,
      });
      await b.fence();
      assert.deepEqual(b.errors(), []);
    });
  }

  it("a message that does not match the schema returns with the server's error", async () => {
    const peer = world.client();
    const room = newRoom();
    const seat = await peer.join("chat", room, alice);
    const { message, ...rest } = await peer.errorOf(seat.send({ shout: 1 }));
    assert.match(message, /^Invalid message data/);
    assert.deepEqual(rest, { fault: "client", channel: "chat", params: room });
  });

  it("rejects a token that nobody issued", async () => {
    const peer = world.client();
    assert.equal(
      (await peer.errorOf(peer.client.subscribe("chat", newRoom(), "made-up", () => undefined)))
        .fault,
      "client",
    );
  });

  it("rejects a token in use by another client, and its holder keeps it", async () => {
    const room = newRoom();
    const [holder, thief] = [world.client(), world.client()];
    const seat = await holder.join("chat", room, alice);
    assert.equal(
      (await thief.errorOf(thief.client.subscribe("chat", room, seat.token, () => undefined)))
        .fault,
      "client",
    );
    await world.app.sendMessage("chat", room, "still here?");
    await thief.fence();
    assert.deepEqual(await seat.messages.count("messages", 1), ["still here?"]);
    assert.deepEqual(
      thief.received.items.filter(({ type }) => type === "message"),
      [],
    );
  });

  it("rejects a token used for another room, before and after subscribing", async () => {
    const peer = world.client();
    const [mine, other] = [newRoom(), newRoom()];
    const token = await peer.token("chat", mine, alice);
    assert.equal(
      (await peer.errorOf(peer.client.send("chat", other, token, { say: "intruder" }))).fault,
      "client",
    );
    await peer.client.subscribe("chat", mine, token, () => undefined);
    await peer.received.find("subscribed", ({ type }) => type === "subscribed");
    assert.equal(
      (await peer.errorOf(peer.client.send("chat", other, token, { say: "intruder" }))).fault,
      "client",
    );
    assert.deepEqual(
      world.heard.items.filter(({ params }) => params["roomId"] === other.roomId),
      [],
    );
  });

  it("a token can be taken again after its socket has closed", async () => {
    const room = newRoom();
    const first = world.client();
    const { token } = await first.join("chat", room, alice);
    const socket = (first.connection as unknown as { socket: WebSocket }).socket;
    const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
    first.client.disconnect();
    await closed;
    await world.hasClients(0); // messages on another socket may otherwise be handled first

    const second = world.client();
    await second.client.subscribe("chat", room, token, () => undefined);
    await second.received.find("subscribed", ({ type }) => type === "subscribed");
    await second.client.send("chat", room, token, { say: "back again" });
    const heard = await world.heard.find(
      "back again",
      ({ params }) => params["roomId"] === room.roomId,
    );
    assert.deepEqual(heard.context, alice);
  });

  it("a server with the wrong secret gets 401", async () => {
    const stranger = httpServerToSidekick(world.sidekick.url, `${sidekickSecret}x`);
    assert.match((await stranger.update(["item/1"]))?.message ?? "no error", /401/);
  });
});

describe("an app server that is down", () => {
  it("gives the sender a server fault, and the Sidekick continues", async (t) => {
    const doomed = await startWorld();
    t.after(() => doomed.stop());
    const [a, b] = [doomed.client(), doomed.client()];
    const room = newRoom();
    const [seat, other] = await Promise.all([
      a.join("chat", room, alice),
      b.join("chat", room, bob),
    ]);
    doomed.http.close();
    doomed.http.closeAllConnections();

    const { message: _, ...rest } = await a.errorOf(seat.send({ say: "anybody?" }));
    assert.deepEqual(rest, { fault: "server", channel: "chat", params: room });
    assert.equal(await doomed.app.sendMessage("chat", room, "from elsewhere"), null);
    assert.deepEqual(await other.messages.count("messages", 1), ["from elsewhere"]);
    assert.deepEqual(b.errors(), []);
  });
});

describe("resources", () => {
  const watch = (peer: ReturnType<World["client"]>, id: string) => {
    const values = new Inbox<unknown>();
    const stop = peer.client.listen("getItem", id, (result) => values.put(result.data), true);
    return { values, stop };
  };
  const isListening = (id: string) => (message: SidekickOutgoingMessage) =>
    listensTo(message, `item/${id}`);

  it("changed by one client are refetched by another that listens", async () => {
    const [watcher, writer] = [world.client(), world.client()];
    const { values } = watch(watcher, "shared");
    await watcher.received.find("listening", isListening("shared"));
    assert.deepEqual(values.items, [0]);
    const result = await writer.client.mutate("addToItem", { id: "shared", by: 5 });
    assert.equal(result.success, true);
    assert.deepEqual(await watcher.received.find("updated", ({ type }) => type === "updated"), {
      type: "updated",
      resource: "item/shared",
    });
    assert.deepEqual(await values.count("values", 2), [0, 5]);
  });

  it("are announced to every listener once per mutation, and to nobody else", async () => {
    const [a, b, other, writer] = [world.client(), world.client(), world.client(), world.client()];
    watch(a, "popular");
    watch(b, "popular");
    watch(other, "lonely");
    await Promise.all(
      [a, b].map((peer) => peer.received.find("listening", isListening("popular"))),
    );
    await other.received.find("listening", isListening("lonely"));
    for (const by of [1, 2, 3]) await writer.client.mutate("addToItem", { id: "popular", by });
    // The server does not wait for its announcements, so wait for the last one where it must
    // arrive.
    const updates = (peer: typeof a) =>
      peer.received.items.filter(({ type }) => type === "updated");
    await Promise.all(
      [a, b].map((peer) => peer.received.find("3 updates", () => updates(peer).length >= 3)),
    );
    await Promise.all([a, b, other].map((peer) => peer.fence()));
    assert.deepEqual(
      [a, b, other].map((peer) => updates(peer).length),
      [3, 3, 0],
    );
  });

  it("are silent after unlisten, for that client only", async () => {
    const [leaving, staying, writer] = [world.client(), world.client(), world.client()];
    const { stop } = watch(leaving, "fading");
    watch(staying, "fading");
    await Promise.all(
      [leaving, staying].map((peer) => peer.received.find("listening", isListening("fading"))),
    );
    stop();
    assert.deepEqual(
      await leaving.received.find("unlistening", ({ type }) => type === "unlistening"),
      { type: "unlistening", resources: ["item/fading"] },
    );
    await writer.client.mutate("addToItem", { id: "fading", by: 1 });
    await staying.received.find("updated", ({ type }) => type === "updated");
    await leaving.fence();
    assert.deepEqual(
      leaving.received.items.filter(({ type }) => type === "updated"),
      [],
    );
  });
});

describe("ION", () => {
  for (const [name, value] of Object.entries(ionValues)) {
    it(`${name}: unchanged in message, forward and context`, async () => {
      const peer = world.client();
      const params = { x: "ion", y: name };
      const seat = await peer.join("grid", params, { wrapped: value });

      await world.app.sendMessage("grid", params, value);
      const [message] = await seat.messages.count("messages", 1);
      assert.deepStrictEqual(message, afterTheWire(value), "message");

      await seat.send(value);
      const heard = await world.heard.find(
        name,
        (h) => h.params["x"] === "ion" && h.params["y"] === name,
      );
      assert.deepStrictEqual(heard.data, afterTheWire(value), "forward");
      assert.deepStrictEqual(heard.context, { wrapped: afterTheWire(value) }, "context");
      assert.deepEqual(peer.errors(), []);
    });
  }
});
