// The guarantees of docs/client.md, one by one, with a Sidekick that the test plays. The simulation
// (sim.test.ts) shows the same under random faults with the real one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToSidekick as npmSidekick } from "@covenant-rpc/client/interfaces/http";
import type { ClientToServerConnection } from "@covenant-rpc/core/interfaces";
import ION from "@covenant-rpc/ion";

import "../hosts/shared/covenant-support/node-polyfill.ts";
import { GATHER_MS } from "../../worker/src/client/refetch.ts";
import { outcome, Stage, StagedSocket, staged } from "./stage.ts";
import { connectSidekick, withAcks } from "./support/client.ts";
import { covenant } from "./support/covenant.ts";

const CHAT = { channel: "chat", params: { room: "1" } };
const TOKEN = "a-token-of-the-app-server";
const subscribe = { type: "subscribe", token: TOKEN };
const members = (frame: Record<string, unknown> | undefined, ...names: string[]) =>
  names.map((name) => frame?.[name]);

/** Subscribes, confirmed. */
async function inChat(stage: Stage): Promise<void> {
  stage.sidekick.sendMessage(subscribe);
  await stage.greet();
  const [asked] = stage.written();
  await stage.say({ type: "subscribed", id: asked!["id"], ...CHAT, at: stage.now });
  stage.heard();
}

/** Type check: it fits where the npm connections do. */
const typed = (server: ClientToServerConnection) => {
  const sidekick = connectSidekick("https://sidekick.example.com", { server });
  const connections = { serverConnection: sidekick.server, sidekickConnection: sidekick };
  return withAcks(new CovenantClient(covenant as any, connections), sidekick);
};
void typed;

// --- G1

test(
  "G1: the client reconnects until disconnect(), with one socket at a time",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    for (let i = 0; i < 30; i++) {
      if (i % 3 === 0) {
        await stage.untilOpening();
        await stage.run(10_000); // the socket never opens
      } else if (i % 3 === 1) await stage.open().then(() => stage.drop());
      else await stage.greet().then(() => stage.drop(1011));
    }
    await stage.greet();
    const before = stage.sockets.slice(0, -1);
    const last = stage.socket;
    assert.deepEqual(
      before.map(({ closedWith }) => closedWith),
      Array(30).fill(1000),
    );
    assert.equal(last.closedWith, undefined);
    stage.sidekick.disconnect();
    assert.equal(last.closedWith, 1000);
    await stage.run(3_600_000);
    assert.equal(stage.sockets.length, 31);
    assert.deepEqual(stage.sidekick.state, {
      ...{ name: "closed", reason: "disconnect()" },
    });
  }),
);

test(
  "G1: a silent socket is probed and replaced; its late events change nothing",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    await stage.run(25_000);
    assert.deepEqual(stage.written(), [{ type: "ping" }]);
    await stage.say({ type: "pong", at: stage.now });
    await stage.run(24_000);
    assert.deepEqual(stage.written(), []);
    await stage.run(11_001);
    assert.equal(stage.sidekick.state.name, "waiting");
    assert.equal(stage.sidekick.state.reason, "ping timeout");
    const old = stage.socket;
    await stage.greet();
    old.onclose?.({ code: 1006, reason: "late" });
    assert.equal(stage.sidekick.state.name, "live");
  }),
);

test(
  "G1: wake() probes at once, and calling it every second does not extend the timeout",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    for (let i = 0; i < 5; i++) {
      stage.sidekick.wake();
      await stage.run(1000);
    }
    assert.equal(stage.sockets[0]!.closedWith, 1000);
  }),
);

test(
  "G1: a probe whose timer fires late is repeated: the answer may be queued behind it",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    stage.sidekick.wake();
    stage.time.wallOffset += 3_600_000; // the machine sleeps
    await stage.run(4000);
    assert.equal(stage.sidekick.state.name, "live");
    assert.deepEqual(stage.written(), [{ type: "ping" }, { type: "ping" }]);
    await stage.run(4001);
    assert.equal(stage.sidekick.state.name, "waiting");
  }),
);

test(
  "G1: the backoff grows while connections are short, and resets after one of 10 s",
  staged({}, async (stage) => {
    Math.random = () => 0.999; // the longest wait
    const waits: number[] = [];
    const wait = () => waits.push(Math.round((stage.sidekick.state.retryAt! - Date.now()) / 1000));
    stage.sidekick.connect();
    for (let i = 0; i < 6; i++) {
      await stage.greet();
      await stage.drop();
      wait();
    }
    await stage.greet();
    await stage.run(10_000);
    await stage.drop();
    wait();
    await stage.greet();
    await stage.drop(1013);
    wait();
    assert.deepEqual(waits, [1, 2, 4, 8, 16, 30, 1, 5]);
  }),
);

test(
  "G1: a client of a Sidekick that drains is back within 1 s, in the same session",
  staged({}, async (stage) => {
    const sessions = new Set<string>();
    const waits: number[] = [];
    stage.sidekick.connect();
    for (const random of [0.001, 0.5, 0.999]) {
      sessions.add((await stage.greet())["hello"]);
      await stage.run(10_000);
      Math.random = () => random;
      await stage.drop(4001);
      waits.push(Math.round(stage.sidekick.state.retryAt! - Date.now()));
    }
    assert.deepEqual(waits, [1, 500, 999]);
    assert.equal(sessions.size, 1);
  }),
);

test("G1: a spread_ms that is absurd or no number leaves the backoff and the refetches as they are", async () => {
  for (const spread_ms of [undefined, "soon", {}, 1e300, Infinity, -1]) {
    await staged({}, async (stage) => {
      Math.random = () => 0.999; // the longest wait
      stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
      const live = async () => {
        const { id } = await stage.open();
        const welcome = { version: 1, epoch: "one", at: stage.now, frame_bytes_max: 1000 };
        await stage.say({
          type: "listening",
          resources: [],
          id,
          welcome: { ...welcome, spread_ms },
        });
        const [listen] = stage.written();
        await stage.say({ type: "listening", id: listen!["id"], at: stage.now });
      };
      for (let i = 0; i < 4; i++) {
        await live();
        await stage.drop(1001);
        const waitMs = stage.sidekick.state.retryAt! - Date.now();
        assert.ok(waitMs > 1000 && waitMs < 11_000, `${spread_ms}: ${waitMs} ms`);
      }
      await live();
      stage.heard();
      await stage.run(60_100);
      assert.deepEqual(stage.heard(), ["updated"]);
    })();
  }
});

test(
  "G1: disconnect() holds, also where the app calls it in the middle of a reconnect",
  staged({}, async (stage) => {
    const { sidekick } = stage;
    sidekick.on("sendFailed", () => sidekick.disconnect());
    await inChat(stage);
    sidekick.sendMessage({ type: "send", ...CHAT, token: TOKEN, data: 1 });
    await stage.drop(1011);
    await stage.run(3_600_000);
    assert.equal(sidekick.state.name, "closed");
    assert.equal(stage.sockets.length, 1);
  }),
);

test(
  "G1: a Sidekick whose engine is away is no legacy one: the client reconnects until it is back",
  staged({}, async (stage) => {
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    for (const code of ["engine", "queue", "full"]) {
      const { id } = await stage.open();
      const error = { channel: "unknown", params: {}, fault: "sidekick", message: "try again" };
      await stage.say({ type: "error", error, id, code });
      assert.deepEqual(members({ ...stage.sidekick.state }, "name", "reason"), [
        ...["waiting", "try again"],
      ]);
      assert.equal(stage.socket.closedWith, 1000);
    }
    await stage.greet();
    assert.deepEqual(stage.sidekick.state, { name: "live", legacy: false });
    assert.deepEqual([stage.written()[0]!["type"], state()], ["send", "pending"]);
  }),
);

test(
  "G1: a socket that another node closes with 4000 is not the one in use: nothing happens",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    const old = stage.socket;
    stage.sidekick.wake();
    await stage.run(4001); // it is half-open
    await stage.greet();
    old.onclose?.({ code: 4000, reason: "taken over by a new connection of this session" });
    await stage.run(20_000);
    assert.equal(stage.sockets.length, 2);
  }),
);

test(
  "G1: a state listener that disconnects leaves no older state with the listeners after it",
  staged({}, async (stage) => {
    const { sidekick } = stage;
    const shown: string[] = [];
    sidekick.on("state", ({ name }) => name === "waiting" && sidekick.disconnect());
    sidekick.on("state", ({ name }) => shown.push(name));
    sidekick.connect();
    await stage.greet();
    await stage.drop();
    assert.deepEqual(shown, ["connecting", "greeting", "live", "closed"]);
  }),
);

test(
  "G1: after disconnect() and connect(), as in StrictMode, all is asked for again",
  staged({}, async (stage) => {
    const { sidekick } = stage;
    sidekick.sendMessage(subscribe);
    sidekick.sendMessage({ type: "unsubscribe", token: TOKEN });
    sidekick.disconnect();
    sidekick.sendMessage(subscribe);
    sidekick.sendMessage({ type: "listen", resources: ["a"] });
    await stage.greet();
    const types = () => stage.written().map(({ type }) => type);
    assert.deepEqual(types(), ["subscribe", "listen"]);
    sidekick.disconnect();
    sidekick.connect();
    await stage.greet();
    assert.deepEqual(types(), ["subscribe", "listen"]);
  }),
);

// --- G2

test(
  "G2: the first listen asks for what changed since its query began",
  staged(
    {
      server: {
        sendConnectionRequest: async () => assert.fail(),
        runProcedure: () =>
          new Promise((resolve) =>
            setTimeout(() => resolve({ status: "OK", data: 1, resources: ["todos"] }), 5000),
          ),
      },
    },
    async (stage) => {
      const began = stage.now;
      stage.sidekick.connect();
      const running = (stage.sidekick.server as any).runProcedure({ procedure: "q" });
      await stage.greet();
      await stage.run(5000);
      const { resources } = await running;
      stage.sidekick.sendMessage({ type: "listen", resources });
      const [listen] = stage.written();
      const { since, epoch } = listen as { since: number; epoch: string };
      assert.equal(epoch, "one");
      assert.ok(since <= began, "later than the query began");
      assert.ok(since > began - 3_000_000, "much earlier than the query began");
      const at = stage.now;
      await stage.say({
        ...{ type: "listening", id: listen!["id"], resources: [], at },
        ...{ recovered: true, changed: ["todos"] },
      });
      await stage.run(GATHER_MS);
      assert.deepEqual(stage.heard(), ["updated"]);
    },
  ),
);

test(
  "G2: a position advances only as far as a pong after the item became live proves",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    await stage.run(1000);
    stage.sidekick.wake();
    const early = stage.now;
    await stage.say({ type: "pong", at: early }); // before "a" is live
    await stage.drop();
    await stage.greet();
    const [first] = stage.written();
    assert.ok((first!["since"] as number) < early, "a pong before the reply was counted");
    const at = stage.now;
    await stage.say({ type: "listening", id: first!["id"], resources: [], at, recovered: false });
    await stage.run(1000);
    stage.sidekick.wake();
    const late = stage.now;
    await stage.say({ type: "pong", at: late });
    await stage.run(3000);
    await stage.drop();
    await stage.greet();
    assert.equal(stage.written()[0]!["since"], late);
  }),
);

test(
  "G2: a constant pong proves the time of the oldest open ping, minus 2 s",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    const [listen] = stage.written();
    const at = stage.now;
    await stage.say({ type: "listening", id: listen!["id"], resources: [], at, recovered: true });
    await stage.run(10_000);
    stage.sidekick.wake();
    const first = stage.now;
    await stage.say({ type: "updated", resource: "a" }); // alive
    await stage.run(3000);
    stage.sidekick.wake();
    await stage.say({ type: "pong" });
    await stage.drop();
    await stage.greet();
    const since = stage.written()[0]!["since"] as number;
    assert.ok(since <= first - 2_000_000 && since > first - 2_100_000, `${first - since}`);
  }),
);

test(
  "G2: where pongs prove no delivery, they move no position",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet({ pongAt: false });
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    const [listen] = stage.written();
    const at = stage.now;
    await stage.say({ type: "listening", id: listen!["id"], resources: [], at, recovered: true });
    await stage.run(10_000);
    stage.sidekick.wake();
    await stage.say({ type: "pong" });
    await stage.drop();
    await stage.greet({ pongAt: false });
    assert.equal(stage.written()[0]!["since"], at);
  }),
);

test(
  "G2: a new epoch invalidates all positions",
  staged({}, async (stage) => {
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    await inChat(stage);
    const listen = { type: "listening", id: 0, resources: [], at: stage.now, recovered: true };
    await stage.say(listen);
    await stage.drop();
    await stage.greet({ epoch: "two" });
    const [chat] = stage.written();
    assert.deepEqual(members(chat, "type", "since", "epoch"), ["subscribe", undefined, undefined]);
  }),
);

test(
  "G2: a node that is behind: positions stay, and its lower answers count",
  staged({}, async (stage) => {
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    await stage.greet({ epoch: "k3f9.2" });
    const [{ id }] = stage.written() as [{ id: number }];
    const before = stage.now;
    await stage.say({ type: "listening", id, resources: [], at: before, recovered: false });
    await stage.run(25_000);
    const position = stage.now;
    await stage.say({ type: "pong", at: position });
    // It has not received everything yet; a pong may be frozen, too.
    await stage.drop();
    await stage.greet({ epoch: "k3f9.2", at: before });
    const [again] = stage.written();
    assert.deepEqual(members(again, "since", "epoch"), [position, "k3f9.2"]);
    const reply = { type: "listening", id: again!["id"], resources: [], at: position + 1 };
    await stage.say({ ...reply, recovered: true, changed: [] });
    await stage.run(25_000);
    await stage.say({ type: "pong", at: before });
    await stage.drop();
    await stage.greet({ epoch: "k3f9.2", at: before });
    assert.deepEqual(members(stage.written()[0], "since"), [position + 1]);
    // Another engine, whose epoch nobody can compare: everything is fetched again.
    stage.heard();
    await stage.drop();
    await stage.greet({ epoch: "k3f9.3", at: position + 2 });
    const [other] = stage.written();
    const since = other!["since"];
    assert.ok(since < position, `since ${since} is not before ${position}`);
    await stage.say({ ...reply, id: other!["id"], recovered: false });
    await stage.run(2000);
    assert.deepEqual(stage.heard(), ["updated"]);
  }),
);

test("G2: a query older than the listen is told what changed before the listen", async () => {
  const answers: ((names: string[]) => void)[] = [];
  const server = {
    sendConnectionRequest: async () => assert.fail(),
    runProcedure: () =>
      new Promise((resolve) =>
        answers.push((resources) => resolve({ status: "OK", data: 1, resources })),
      ),
  };
  const stage = new Stage({ server });
  try {
    stage.sidekick.connect();
    await stage.greet();
    const run = (inputs: number) =>
      (stage.sidekick.server as any).runProcedure({ procedure: "q", inputs });
    const early = run(1);
    await stage.run(5000);
    const late = run(2);
    for (const answer of answers) answer(["todos"]);
    stage.sidekick.sendMessage({ type: "listen", resources: (await late).resources });
    const [first] = stage.written();
    stage.sidekick.sendMessage({ type: "listen", resources: (await early).resources });
    const [second] = stage.written();
    const [lateSince, earlySince] = [first!["since"] as number, second!["since"] as number];
    assert.ok(
      earlySince <= lateSince - 4_900_000,
      `since ${earlySince} is not 4.9 s before ${lateSince}`,
    );
    // The reply to the first says nothing of the time before it.
    await stage.say({
      ...{ type: "listening", id: first!["id"], resources: [], at: stage.now },
      ...{ recovered: true, changed: [] },
    });
    await stage.drop();
    await stage.greet();
    const since = stage.written()[0]!["since"] as number;
    assert.ok(since < lateSince, `since ${since} is not before ${lateSince}`);
  } finally {
    stage.end();
  }
});

test("G2: a change during a query is told even if the client already listens", async () => {
  const server = {
    sendConnectionRequest: async () => assert.fail(),
    runProcedure: () =>
      new Promise((resolve) =>
        setTimeout(() => resolve({ status: "OK", data: 1, resources: ["todos"] }), 1000),
      ),
  };
  const stage = new Stage({ server });
  try {
    const listen = async () => {
      const run = (stage.sidekick.server as any).runProcedure({ procedure: "q" });
      return async () => {
        const { resources } = await run;
        stage.sidekick.sendMessage({ type: "listen", resources });
      };
    };
    stage.sidekick.connect();
    await stage.greet();
    const first = await listen();
    await stage.run(1000);
    await first();
    const second = await listen();
    await stage.run(500);
    await stage.say({ type: "updated", resource: "todos" });
    await stage.run(500);
    assert.deepEqual(stage.heard(), ["updated"]);
    await second();
    await stage.run(GATHER_MS);
    assert.deepEqual(stage.heard(), ["updated"]);
    const third = await listen();
    await stage.run(1000);
    await third();
    assert.deepEqual(stage.heard(), []);
  } finally {
    stage.end();
  }
});

// --- G3, G4

test("G3, G4: of identical queries caused by updates, one runs and one waits", async () => {
  const answers: ((data: number) => void)[] = [];
  const server = {
    sendConnectionRequest: async () => assert.fail(),
    runProcedure: () =>
      new Promise((resolve) =>
        answers.push((data) => resolve({ status: "OK", data, resources: ["a", "b"] })),
      ),
  };
  const stage = new Stage({ server });
  try {
    const client = new CovenantClient(covenant as any, {
      ...{ serverConnection: stage.sidekick.server as any, sidekickConnection: stage.sidekick },
    });
    const shown: number[] = [];
    client.listen("query" as never, 1 as never, ({ data }: any) => void shown.push(data), true);
    client.listen("query" as never, 1 as never, ({ data }: any) => void shown.push(-data), true);
    await stage.run(0);
    answers[0]!(1);
    answers[1]!(1);
    await stage.run(0);
    await stage.greet();
    for (let burst = 0; burst < 50; burst++) {
      await stage.say({ type: "updated", resource: burst % 2 === 0 ? "a" : "b" });
      await stage.run(GATHER_MS);
    }
    assert.equal(answers.length, 3); // both listeners share it
    answers[2]!(2);
    await stage.run(0);
    assert.equal(answers.length, 4);
    answers[3]!(3);
    await stage.run(0);
    assert.equal(answers.length, 4);
    assert.deepEqual(shown.map(Math.abs), [1, 1, 2, 2, ...Array(98).fill(3)]);
  } finally {
    stage.end();
  }
});

test("G3: the frames of one publish cause one run of a query", async () => {
  let runs = 0;
  const server = {
    sendConnectionRequest: async () => assert.fail(),
    runProcedure: async () => ({ status: "OK", data: ++runs, resources: ["a", "b"] }),
  };
  const stage = new Stage({ server });
  try {
    const client = new CovenantClient(covenant as any, {
      ...{ serverConnection: stage.sidekick.server as any, sidekickConnection: stage.sidekick },
    });
    client.listen("query" as never, 1 as never, () => {}, true);
    await stage.greet();
    assert.equal(runs, 1);
    await stage.say({ type: "updated", resource: "a" });
    await stage.run(1);
    await stage.say({ type: "updated", resource: "b" });
    await stage.run(GATHER_MS);
    assert.equal(runs, 2);
  } finally {
    stage.end();
  }
});

// --- G5

test(
  "G5: missed messages come once and in order; without recovery a gap comes first",
  staged({}, async (stage) => {
    await inChat(stage);
    const message = (data: number, at: number) => ({ type: "message", ...CHAT, data, at });
    const start = stage.now;
    await stage.say(message(1, start + 1), message(2, start + 2), message(2, start + 2));
    assert.deepEqual(
      stage.told.splice(0).map(([, { data }]) => data),
      [1, 2],
    );
    await stage.drop();
    await stage.greet();
    await stage.say(message(9, start + 9)); // not confirmed on this socket
    const [again] = stage.written();
    assert.deepEqual(members(again, "since", "epoch"), [start + 2, "one"]);
    await stage.say(
      { type: "subscribed", id: again!["id"], ...CHAT, at: start + 9, recovered: true, missed: 2 },
      ...[message(3, start + 3), message(9, start + 9), message(10, start + 10)],
    );
    const heard = stage.told.splice(0).map(([name, { data }]) => data ?? name);
    assert.deepEqual(heard, ["subscribed", 3, 9, 10]);
    await stage.drop();
    await stage.greet();
    const [third] = stage.written();
    const lost = { type: "subscribed", id: third!["id"], ...CHAT, at: start + 20 };
    await stage.say({ ...lost, recovered: false }, message(21, start + 21));
    assert.deepEqual(stage.heard(), ["gap", "subscribed", "message"]);
  }),
);

test(
  "G5: a channel is live only once all missed messages have arrived",
  staged({}, async (stage) => {
    await inChat(stage);
    const start = stage.now;
    await stage.say({ type: "message", ...CHAT, data: 1, at: start + 1 });
    await stage.drop();
    await stage.greet();
    const id = stage.written()[0]!["id"];
    await stage.say(
      { type: "subscribed", id, ...CHAT, at: start + 9, recovered: true, missed: 2 },
      { type: "message", ...CHAT, data: 2, at: start + 2 },
    );
    stage.sidekick.wake();
    await stage.say({ type: "pong", at: start + 500 });
    await stage.drop();
    await stage.greet();
    assert.equal(stage.written()[0]!["since"], start + 2);
  }),
);

test("G5: new tokens that the hub rejects one after another are requested with backoff", async () => {
  let asked = 0;
  const server = {
    sendConnectionRequest: async () => {
      return { ...CHAT, result: { type: "OK" as const, token: `token-${asked++}` } };
    },
    runProcedure: async () => assert.fail(),
  };
  const stage = new Stage({ server });
  try {
    await (stage.sidekick.server as any).sendConnectionRequest(CHAT);
    stage.sidekick.sendMessage({ type: "subscribe", token: "token-0" });
    await stage.greet();
    const error = { channel: "unknown", params: {}, fault: "client", message: "invalid token" };
    let rejected = 0;
    for (const end = stage.time.now + 300_000; stage.time.now < end; await stage.run(100))
      for (const { id, type } of stage.written())
        if (type === "ping") await stage.say({ type: "pong", at: stage.now });
        else await stage.say({ type: "error", id, code: "token", error }).then(() => rejected++);
    assert.ok(rejected > 10 && rejected < 60, `${rejected} tokens in 300 s`);
  } finally {
    stage.end();
  }
});

test(
  "G5: an engine that lost messages: a gap, and the subscription goes on",
  staged({}, async (stage) => {
    await inChat(stage);
    const message = { type: "message", ...CHAT, data: 1, at: stage.now };
    await stage.say(message);
    // The engine that took over is behind.
    const at = stage.now - 5_000_000;
    await stage.say({ type: "subscribed", ...CHAT, at, recovered: false });
    await stage.say({ ...message, data: 2, at: at + 1 });
    assert.deepEqual(stage.heard(), ["message", "gap", "subscribed", "message"]);
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    await stage.say({ type: "sent", id: stage.written()[0]!["id"] });
    assert.equal(state(), "ok");
    await stage.drop();
    await stage.greet();
    assert.deepEqual(members(stage.written()[0], "type", "since"), ["subscribe", at + 1]);
  }),
);

test(
  "G5: a loss in a channel that another connection has, or that is not confirmed, is no gap",
  staged({}, async (stage) => {
    stage.sidekick.sendMessage(subscribe);
    await stage.greet();
    const loss = { type: "subscribed", ...CHAT, at: stage.now, recovered: false };
    await stage.say(loss, { ...loss, channel: "news" });
    assert.deepEqual(stage.heard(), []);
    await stage.say({ ...loss, id: stage.written()[0]!["id"] });
    assert.deepEqual(stage.heard(), ["subscribed"]);
    await stage.say({ ...loss, params: { room: "2" } });
    assert.deepEqual(stage.heard(), []);
  }),
);

// --- G6

test(
  "G6: a send resolves with `sent`, and an error says whether it is certain",
  staged({}, async (stage) => {
    await inChat(stage);
    const codes = {
      token: "token",
      queue: "queue",
      app: "app",
      app_unreachable: "app_unreachable",
      app_broken: "app_broken?",
      app_timeout: "app_timeout?",
      app_status: "app_status?",
      unknown: "unknown?",
    };
    const send = () => stage.sidekick.send("chat", CHAT.params, TOKEN, 1);
    const answer = async (frame: object) => {
      const state = outcome(send());
      const [{ id }] = stage.written() as [{ id: number }];
      await stage.run(500);
      assert.equal(state(), "pending");
      await stage.say({ id, ...frame });
      return state();
    };
    assert.equal(await answer({ type: "sent" }), "ok");
    for (const [code, expected] of Object.entries(codes)) {
      const fault = /^app_/.test(code) ? "server" : "sidekick";
      const error = { ...CHAT, fault, message: "no" };
      assert.equal(await answer({ type: "error", code, error }), expected);
    }
  }),
);

for (const [title, code, expected] of [
  ["a rejected repeat is uncertain: the first copy may have been processed", "token", "unknown?"],
  ["the outcome of a repeat is that of the original message", "app", "app"],
] as const) {
  test(
    `G6: ${title}`,
    staged({}, async (stage) => {
      await inChat(stage);
      const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
      const [first] = stage.written();
      await stage.drop();
      await stage.greet();
      const [again] = stage.written();
      await stage.say({ type: "subscribed", id: again!["id"], ...CHAT, at: stage.now });
      const [repeat] = stage.written();
      assert.deepEqual(repeat, { ...first!, again: true });
      const error = { ...CHAT, fault: "client", message: "no" };
      await stage.say({ type: "error", id: first!["id"], code, error });
      assert.equal(state(), expected);
    }),
  );
}

for (const code of [1009, 1011]) {
  test(
    `G6: a message that closes the socket with ${code} is not repeated`,
    staged({}, async (stage) => {
      await inChat(stage);
      const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
      await stage.drop(code);
      assert.equal(state(), "unknown?");
    }),
  );
}

test(
  "G6: when a token is lost, a written send is uncertain and a waiting one uses the new token",
  staged({ onTokenLost: async () => "another-token" }, async (stage) => {
    await inChat(stage);
    const written = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    await stage.drop();
    const waiting = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 2));
    await stage.greet();
    const [again] = stage.written();
    const error = { channel: "unknown", params: {}, fault: "client", message: "invalid token" };
    await stage.say({ type: "error", id: again!["id"], code: "token", error });
    assert.deepEqual([written(), waiting()], ["unknown?", "pending"]);
    await stage.run(1000);
    const [renewed] = stage.written();
    assert.deepEqual(members(renewed, "type", "token"), ["subscribe", "another-token"]);
    await stage.say({ type: "subscribed", id: renewed!["id"], ...CHAT, at: stage.now });
    assert.deepEqual(stage.heard(), ["gap", "subscribed"]);
    const [sent] = stage.written();
    assert.deepEqual(members(sent, "token", "data", "again"), ["another-token", 2, undefined]);
  }),
);

test("G6: a token that the Sidekick lost is replaced, once, and sends wait for the new one", async () => {
  const lost: string[] = [];
  const onTokenLost = async ({ token }: { token: string }) => `${lost.push(token)} new tokens`;
  await staged({ onTokenLost }, async (stage) => {
    await inChat(stage);
    const send = (data: number) => outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, data));
    const written = send(1);
    stage.written();
    const error = { ...CHAT, fault: "client", message: "token lost: another connection holds it" };
    const told = { type: "error", code: "token", error };
    await stage.say(told, told, { ...told, error: { ...error, channel: "news" } });
    const waiting = send(2);
    const [again, ...none] = stage.written();
    assert.deepEqual([again!["token"], none], [TOKEN, []]);
    await stage.say({ ...told, id: again!["id"] });
    await stage.run(10_000);
    assert.deepEqual([lost, written(), waiting()], [[TOKEN], "unknown?", "pending"]);
    const [renewed] = stage.written();
    assert.deepEqual(members(renewed, "type", "token"), ["subscribe", "1 new tokens"]);
    await stage.say({ type: "subscribed", id: renewed!["id"], ...CHAT, at: stage.now });
    assert.deepEqual(members(stage.written()[0], "type", "token"), ["send", "1 new tokens"]);
    const heard = stage.heard();
    assert.ok(heard.includes("gap"), `no gap in: ${heard}`);
  })();
});

test(
  "G6: a token that the Sidekick lost and can use again stays, without a gap",
  staged({}, async (stage) => {
    await inChat(stage);
    const error = { ...CHAT, fault: "client", message: "token lost: another connection holds it" };
    await stage.say({ type: "error", code: "token", error });
    const [again] = stage.written();
    assert.deepEqual(members(again, "type", "token", "epoch"), ["subscribe", TOKEN, "one"]);
    const reply = { type: "subscribed", id: again!["id"], ...CHAT, at: stage.now };
    await stage.say({ ...reply, recovered: true, missed: 0 });
    assert.deepEqual(stage.heard(), ["problem", "subscribed"]);
  }),
);

test(
  "G6: a send that fails with `engine` was not processed",
  staged({}, async (stage) => {
    await inChat(stage);
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    const error = { ...CHAT, fault: "sidekick", message: "engine unreachable; try again" };
    await stage.say({ type: "error", id: stage.written()[0]!["id"], code: "engine", error });
    assert.equal(state(), "engine");
  }),
);

// --- G7

test(
  "G7: a send is rejected at a limit, after sendTtlMs if unwritten, or by disconnect()",
  staged({ sendMax: 3, sendBytesMax: 500 }, async (stage) => {
    const send = (data: unknown) => outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, data));
    const large = send("x".repeat(500));
    const small = [send(1), send(2), send(3), send(4)];
    await stage.run(0);
    assert.equal(large(), "buffer");
    const states = () => small.map((state) => state());
    assert.deepEqual(states(), ["pending", "pending", "pending", "buffer"]);
    const message = { type: "send", ...CHAT, token: TOKEN, data: 1 };
    assert.throws(() => stage.sidekick.sendMessage(message), { code: "buffer" });
    await stage.run(29_999);
    assert.equal(small[0]!(), "pending");
    await stage.run(1);
    assert.deepEqual(states(), ["expired", "expired", "expired", "buffer"]);
    const late = send(5);
    await stage.greet();
    const written = send(6);
    stage.written();
    stage.sidekick.disconnect();
    await stage.run(0);
    assert.deepEqual([late(), written()], ["unknown?", "unknown?"]);
    const unwritten = send(7);
    stage.sidekick.disconnect();
    await stage.run(0);
    assert.equal(unwritten(), "closed");
  }),
);

test("G7: sendBytesMax counts UTF-8 bytes", async () => {
  const message = { type: "send", token: "t", channel: "chat", params: {}, data: "a é € 😀" };
  const bytes = Buffer.byteLength(ION.stringify(message));
  for (const [sendBytesMax, expected] of [
    [bytes, "pending"],
    [bytes - 1, "buffer"],
  ] as const) {
    const stage = new Stage({ sendBytesMax });
    const state = outcome(stage.sidekick.send("chat", {}, "t", message.data));
    await stage.run(0);
    assert.equal(state(), expected);
    stage.end();
  }
});

test(
  "G7: a silent socket with an unanswered send is probed after 4 s",
  staged({}, async (stage) => {
    await inChat(stage);
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    stage.written();
    await stage.run(4000);
    assert.deepEqual(stage.written(), [{ type: "ping" }]);
    await stage.run(4001);
    assert.equal(stage.sidekick.state.reason, "ping timeout");
    assert.equal(state(), "pending");
  }),
);

// --- G8

test(
  "G8: a send of a subscribed channel waits until the channel is confirmed",
  staged({}, async (stage) => {
    await inChat(stage);
    await stage.drop();
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    const other = outcome(stage.sidekick.send("news", {}, "another-token", 2));
    await stage.greet();
    const [again, direct, ...rest] = stage.written();
    assert.deepEqual([again!["type"], direct!["data"], rest], ["subscribe", 2, []]);
    await stage.say({ type: "subscribed", id: again!["id"], ...CHAT, at: stage.now });
    assert.equal(stage.written()[0]!["data"], 1);
    assert.deepEqual([state(), other()], ["pending", "pending"]);
  }),
);

// --- G9

test(
  "G9: every socket says hello with the same session, first and alone",
  staged({}, async (stage) => {
    stage.sidekick.sendMessage(subscribe);
    const hello = await stage.open();
    assert.equal(JSON.stringify(Object.keys(hello)), '["type","id","resources","hello"]');
    assert.match(hello["hello"], /^[0-9-]{16,64}$/);
    await stage.run(9000);
    assert.deepEqual(stage.written(), []);
    await stage.drop();
    assert.equal((await stage.open())["hello"], hello["hello"]);
    const other = connectSidekick("https://sidekick.example.com", {
      WebSocket: class extends StagedSocket {
        constructor(url: string) {
          super(url);
          stage.sockets.push(this);
        }
      },
    });
    other.connect();
    stage.socket.onopen?.();
    assert.notEqual(stage.written()[0]!["hello"], hello["hello"]);
  }),
);

for (const [title, is] of [
  ["a busy connection", "busy"],
  ["connections that are short", "short"],
] as const) {
  test(
    `G9: ${title}: the position of a quiet channel keeps up, so that no gap is told`,
    staged({}, async (stage) => {
      await inChat(stage);
      for (let i = 0; i < 40; i++) {
        await stage.run(5000);
        if (is === "busy") await stage.say({ type: "updated", resource: "a" });
        const written = stage.written();
        if (written.some(({ type }) => type === "ping"))
          await stage.say({ type: "pong", at: stage.now });
        if (is === "busy" || i % 4 > 0) continue;
        await stage.drop();
        await stage.greet();
        const { id } = stage.written()[0]!;
        const reply = { type: "subscribed", id, ...CHAT, at: stage.now };
        await stage.say({ ...reply, recovered: true, missed: 0 });
      }
      const { now } = stage;
      await stage.drop();
      await stage.greet();
      const since = stage.written()[0]!["since"] as number;
      assert.ok(since > now - 30_000_000, `${(now - since) / 1e6} s behind`);
    }),
  );
}

// --- G10

test(
  "G10: an error that concerns one message rejects no other send",
  staged({}, async (stage) => {
    await inChat(stage);
    const client = withAcks(
      new CovenantClient(covenant as any, {
        ...{ serverConnection: {} as any, sidekickConnection: stage.sidekick },
      }),
      stage.sidekick,
    );
    const send = (data: number) =>
      outcome(client.send("chat" as never, CHAT.params as never, TOKEN, data as never));
    const [one, two] = [send(1), send(2)];
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    const [first, second, listen] = stage.written();
    const fault = "client";
    const error = { channel: "unknown", params: {}, fault, message: "no" };
    await stage.say({ type: "error", id: listen!["id"], code: "client_full", error });
    assert.deepEqual([one(), two()], ["pending", "pending"]);
    await stage.say({ type: "error", id: first!["id"], code: "app", error });
    assert.deepEqual([one(), two()], ["app", "pending"]);
    await stage.say({ type: "sent", id: second!["id"] });
    assert.equal(two(), "ok");
    assert.deepEqual(stage.heard(), ["problem"]);
  }),
);

test(
  "G10: without withAcks, CovenantClient gets an error only if it comes within 100 ms",
  staged({}, async (stage) => {
    await inChat(stage);
    const message = { type: "send", ...CHAT, token: TOKEN, data: 1 };
    const error = { ...CHAT, fault: "client", message: "no" };
    for (const [ms, expected] of [
      [99, ["error", "sendFailed"]],
      [100, ["sendFailed"]],
    ] as const) {
      stage.sidekick.sendMessage(message);
      const [{ id }] = stage.written() as [{ id: number }];
      await stage.run(ms);
      await stage.say({ type: "error", id, code: "app", error });
      assert.deepEqual(stage.heard(), expected);
    }
  }),
);

// --- G11

test(
  "G11: the last unsubscribe or unlisten frees the entry; nothing grows over reconnects",
  staged({}, async (stage) => {
    await inChat(stage);
    const { sidekick } = stage;
    sidekick.sendMessage(subscribe);
    sidekick.sendMessage({ type: "listen", resources: ["a", "b"] });
    sidekick.sendMessage({ type: "listen", resources: ["a"] }); // CovenantClient counts itself
    stage.written();
    sidekick.sendMessage({ type: "unsubscribe", token: TOKEN });
    sidekick.sendMessage({ type: "unlisten", resources: ["never", "b"] });
    sidekick.sendMessage({ type: "unlisten", resources: ["never"] });
    const [unlisten, ...none] = stage.written();
    assert.deepEqual(members(unlisten, "type", "resources"), ["unlisten", ["b"]]);
    assert.deepEqual(none, []);
    for (let i = 0; i < 5; i++) {
      await stage.drop();
      await stage.greet();
      assert.deepEqual(
        stage.written().map(({ type }) => type),
        ["subscribe", "listen"],
      );
    }
    await stage.drop();
    sidekick.sendMessage({ type: "unsubscribe", token: TOKEN });
    sidekick.sendMessage({ type: "unlisten", resources: ["a"] });
    await stage.greet();
    const [unsubscribe, ...rest] = stage.written();
    assert.deepEqual(members(unsubscribe, "type", "token"), ["unsubscribe", TOKEN]);
    assert.deepEqual(rest, []);
    await stage.drop();
    await stage.greet();
    assert.deepEqual(stage.written(), []);
    await stage.run(60_000);
    assert.equal(stage.time.pending, 1); // the heartbeat
  }),
);

test(
  "G11: a listen that the Sidekick puts off is repeated without what was left meanwhile",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    stage.sidekick.sendMessage({ type: "listen", resources: ["a", "b"] });
    const [{ id }] = stage.written() as [{ id: number }];
    const error = { channel: "unknown", params: {}, fault: "sidekick", message: "full" };
    await stage.say({ type: "error", id, code: "full", error });
    stage.sidekick.sendMessage({ type: "unlisten", resources: ["b"] });
    stage.written();
    await stage.run(30_000);
    assert.deepEqual(members(stage.written()[0], "type", "resources"), ["listen", ["a"]]);
  }),
);

// --- G12

test("G12: except for hello, a legacy Sidekick gets the bytes of the npm client", async () => {
  const messages = [
    subscribe,
    { type: "listen", resources: ["a", "b"] },
    { type: "send", token: "another-token", channel: "news", params: { a: "1" }, data: { b: [1] } },
    { type: "unlisten", resources: ["a"] },
  ];
  const stage = new Stage({});
  try {
    stage.sidekick.connect();
    await stage.greet({ isLegacy: true });
    for (const message of messages) stage.sidekick.sendMessage(message);
    const ours = stage.socket.written.map((text) => ION.stringify(ION.parse(text)));
    const npm: StagedSocket[] = [];
    Object.assign(globalThis, {
      WebSocket: class extends StagedSocket {
        constructor(url: string) {
          super(url);
          npm.push(this);
        }
      },
    });
    const reference = npmSidekick("https://sidekick.example.com");
    npm[0]!.onopen?.();
    for (const message of messages) reference.sendMessage(message as any);
    assert.deepEqual(ours, npm[0]!.written);
    assert.equal(stage.socket.url, npm[0]!.url);
  } finally {
    stage.end();
  }
});

// --- legacy, and the rest of the interface

test(
  "legacy: a Sidekick that rejects pings is probed with an empty listen instead",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet({ isLegacy: true });
    assert.equal(stage.sidekick.state.legacy, true);
    for (let i = 0; i < 3; i++) {
      await stage.run(25_000);
      assert.deepEqual(stage.written(), [{ type: "listen", resources: [] }]);
      await stage.say({ type: "listening", resources: [] });
    }
    assert.equal(stage.sidekick.state.name, "live");
    assert.deepEqual(stage.heard(), []);
    await stage.run(35_000);
    assert.equal(stage.sidekick.state.reason, "ping timeout");
  }),
);

test("it does nothing if `enabled` is false or the runtime has no WebSocket", async () => {
  const { WebSocket } = globalThis;
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    for (const options of [{ enabled: false }, {}]) {
      const sidekick = connectSidekick("https://sidekick.example.com/x", options);
      sidekick.sendMessage(subscribe);
      sidekick.connect();
      sidekick.wake();
      assert.equal(sidekick.state.name, "closed");
      await assert.rejects(sidekick.send("chat", {}, TOKEN, 1), { code: "closed" });
      sidekick.disconnect();
    }
  } finally {
    Object.assign(globalThis, { WebSocket });
  }
});

test("it keeps the path of the URL, and rejects an invalid URL", async () => {
  for (const [url, expected] of [
    ["https://a.example", "wss://a.example/socket"],
    ["http://a.example:3000/", "ws://a.example:3000/socket"],
    ["wss://a.example/x/", "wss://a.example/x/socket"],
    ["ws://a.example/x/socket", "ws://a.example/x/socket"],
    ["https://a.example/x?y#z", "wss://a.example/x/socket"],
  ] as const) {
    const urls: string[] = [];
    const WebSocket = class extends StagedSocket {
      constructor(url: string) {
        super(url);
        urls.push(url);
      }
    };
    const sidekick = connectSidekick(url, { WebSocket });
    sidekick.connect();
    sidekick.disconnect();
    assert.deepEqual(urls, [expected]);
  }
  assert.throws(() => connectSidekick("sidekick.example.com"), /got sidekick\.example\.com$/);
});

test(
  "if the app server refuses a new token, the client drops the channel and rejects its sends",
  staged({ onTokenLost: async () => null }, async (stage) => {
    await inChat(stage);
    await stage.drop();
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    await stage.greet();
    const [again] = stage.written();
    const error = { channel: "unknown", params: {}, fault: "client", message: "invalid token" };
    await stage.say({ type: "error", id: again!["id"], code: "token", error });
    await stage.run(1000);
    assert.deepEqual(stage.heard(), ["channelLost"]);
    assert.equal(state(), "token");
    await stage.drop();
    await stage.greet();
    assert.deepEqual(stage.written(), []);
  }),
);

test(
  "G11: a temporarily rejected request is retried as long as it is wanted",
  staged({}, async (stage) => {
    stage.sidekick.connect();
    await stage.greet();
    stage.sidekick.sendMessage({ type: "listen", resources: ["a"] });
    const error = { channel: "unknown", params: {}, fault: "sidekick", message: "full" };
    const refuse = async (code = "full") => {
      const { id } = stage.written().find(({ type }) => type === "listen")!;
      await stage.say({ type: "error", id, code, error });
      await stage.run(8000);
      await stage.say({ type: "pong", at: stage.now });
    };
    for (const code of ["full", "rate", "queue", "engine"]) {
      await refuse(code);
      assert.deepEqual(stage.heard(), ["problem"]);
      assert.ok(
        stage.socket.written.some((text) => text.includes('"listen"')),
        code,
      );
    }
    stage.sidekick.sendMessage({ type: "unlisten", resources: ["a"] });
    await refuse();
    assert.doesNotMatch(stage.socket.written.join("\n"), /"listen"/);
  }),
);

test(
  "G11: a subscribe or unsubscribe that fails with `engine` is repeated",
  staged({}, async (stage) => {
    await inChat(stage);
    const error = { channel: "unknown", params: {}, fault: "sidekick", message: "try again" };
    stage.sidekick.sendMessage({ type: "unsubscribe", token: TOKEN });
    stage.sidekick.sendMessage({ type: "subscribe", token: "another-token" });
    for (let i = 0; i < 3; i++) {
      const asked = stage.written();
      assert.deepEqual(asked.map(({ type, token }) => [type, token]).sort(), [
        ["subscribe", "another-token"],
        ["unsubscribe", TOKEN],
      ]);
      for (const { id } of asked) await stage.say({ type: "error", id, code: "engine", error });
      await stage.run(5000);
    }
    assert.deepEqual(
      stage.heard().filter((event) => event !== "problem"),
      [],
    );
  }),
);

test(
  "what a listener sends after it has disconnected waits for the next socket",
  staged({}, async (stage) => {
    const { sidekick } = stage;
    await inChat(stage);
    sidekick.on("gap", () => {
      sidekick.disconnect();
      sidekick.send("news", {}, "another-token", 1).catch(() => {});
    });
    await stage.drop();
    await stage.greet();
    const { id } = stage.written()[0]!;
    await stage.say({ type: "subscribed", id, ...CHAT, at: stage.now, recovered: false });
    assert.equal(sidekick.state.name, "connecting");
    assert.deepEqual(stage.written(), []);
  }),
);

test(
  "an option that is undefined has its default, and an endless time is a long one",
  staged({ openMs: undefined!, sendTtlMs: Infinity }, async (stage) => {
    const state = outcome(stage.sidekick.send("chat", CHAT.params, TOKEN, 1));
    await stage.run(9999);
    assert.equal(stage.sidekick.state.name, "connecting");
    await stage.run(1);
    assert.equal(stage.sidekick.state.reason, "no answer within 10000 ms");
    await stage.run(3_600_000);
    assert.equal(state(), "pending");
  }),
);
