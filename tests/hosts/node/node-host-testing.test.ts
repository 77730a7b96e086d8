// InternalSidekick, and the module's Hub for custom hosts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { InternalSidekick as ReferenceSidekick } from "@covenant-rpc/server/sidekick/internal";
import {
  ConfigError,
  checkModule,
  compileModule,
  Hub,
  LIMITS,
  ModuleTrap,
  text,
} from "../../../worker/src/module/index.ts";
import { InternalSidekick } from "../../../worker/src/testing/index.ts";
import { module } from "../shared/support/sidekick.ts";

/** Type check: our class fits wherever the reference's does. */
const sameApi: Pick<
  ReferenceSidekick,
  "setServerCallback" | "getConnectionFromServer" | "getConnectionFromClient"
> = new InternalSidekick();
void sameApi;

function client(sidekick: InternalSidekick) {
  const connection = sidekick.getConnectionFromClient();
  const received: any[] = [];
  const stop = connection.onMessage((message) => void received.push(message));
  return { ...connection, received, stop };
}

/** Everything is delivered in microtasks. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("InternalSidekick delivers although a test framework has faked queueMicrotask", async () => {
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = () => {};
  try {
    const sidekick = new InternalSidekick();
    const one = client(sidekick);
    one.sendMessage({ type: "listen", resources: ["todo/1"] });
    const payload = { token: "t", channel: "c", params: {}, context: null };
    const added = sidekick.getConnectionFromServer().addConnection(payload);
    assert.equal(await Promise.race([added, settled()]), null);
    assert.deepEqual(one.received, [{ type: "listening", resources: ["todo/1"] }]);
  } finally {
    globalThis.queueMicrotask = queueMicrotask;
  }
});

test("InternalSidekick: a client that disconnects hears nothing more and frees its token", async () => {
  const sidekick = new InternalSidekick();
  const server = sidekick.getConnectionFromServer();
  const [a, b] = [client(sidekick), client(sidekick)];
  await server.addConnection({ token: "t", channel: "c", params: {}, context: null });
  a.sendMessage({ type: "subscribe", token: "t" });
  await settled();
  a.disconnect();
  a.disconnect();
  b.sendMessage({ type: "subscribe", token: "t" });
  await settled();
  await server.postMessage({ channel: "c", params: {}, data: 1 });
  await settled();
  assert.deepEqual(
    [a, b].map(({ received }) => received.map(({ type }) => type)),
    [["subscribed"], ["subscribed", "message"]],
  );
});

test("InternalSidekick: subscribe, send both ways with every ION type, resources, unsubscribe", async () => {
  const sidekick = new InternalSidekick();
  const server = sidekick.getConnectionFromServer();
  const [a, b] = [client(sidekick), client(sidekick)];
  const data = {
    date: new Date(0),
    map: new Map([["k", new Set([1, NaN, -Infinity])]]),
    text: "ä\n",
    none: null,
  };
  assert.equal(
    await server.addConnection({
      token: "token-a",
      channel: "chat",
      params: { room: "1" },
      context: { user: new Date(1) },
    }),
    null,
  );
  const calls: unknown[][] = [];
  sidekick.setServerCallback(async (...call) => {
    calls.push(call);
    return call[2] === "bad" ? { fault: "client", message: "no" } : null;
  });
  a.sendMessage({ type: "send", token: "token-a", channel: "chat", params: { room: "1" }, data });
  await settled();
  assert.deepEqual(calls[0], ["chat", { room: "1" }, data, { user: new Date(1) }]);
  a.sendMessage({ type: "subscribe", token: "token-a" });
  await settled();
  assert.equal(await server.postMessage({ channel: "chat", params: { room: "1" }, data }), null);
  await server.postMessage({ channel: "chat", params: { room: "2" }, data });
  a.sendMessage({
    type: "send",
    token: "token-a",
    channel: "chat",
    params: { room: "1" },
    data: "bad",
  });
  await settled();
  a.sendMessage({ type: "unsubscribe", token: "token-a" });
  b.sendMessage({ type: "listen", resources: ["r"] });
  await settled();
  assert.equal(await server.update(["r", "s"]), null);
  await settled();
  const channel = { channel: "chat", params: { room: "1" } };
  assert.deepEqual(a.received, [
    { type: "subscribed", ...channel },
    { type: "message", ...channel, data },
    { type: "error", error: { ...channel, fault: "client", message: "no" } },
    { type: "unsubscribed", ...channel },
  ]);
  assert.deepEqual(b.received, [
    { type: "listening", resources: ["r"] },
    { type: "updated", resource: "r" },
  ]);
});

test("InternalSidekick: the sender gets an error if the server callback is missing, throws or hangs", async () => {
  const connect = async (limits?: { forward_timeout_ms: number }) => {
    const sidekick = new InternalSidekick(limits);
    const sender = client(sidekick);
    await sidekick
      .getConnectionFromServer()
      .addConnection({ token: "token-a", channel: "c", params: {}, context: undefined });
    const send = async () => {
      sender.sendMessage({ type: "send", token: "token-a", channel: "c", params: {}, data: 1 });
      const count = sender.received.length;
      while (sender.received.length === count)
        await new Promise((resolve) => setTimeout(resolve, 1));
      return sender.received.at(-1).error;
    };
    return { sidekick, send };
  };
  const { sidekick, send } = await connect();
  assert.deepEqual(await send(), {
    channel: "c",
    params: {},
    fault: "server",
    message: "Server connection not initialized",
  });
  sidekick.setServerCallback(async () => {
    throw new Error("broken");
  });
  assert.equal((await send()).fault, "server");
  const hanging = await connect({ forward_timeout_ms: 20 });
  hanging.sidekick.setServerCallback(() => new Promise(() => {}));
  assert.equal((await hanging.send()).fault, "server");
});

test("InternalSidekick: a handler may send at once, and a removed one receives nothing", async () => {
  const sidekick = new InternalSidekick();
  const one = client(sidekick);
  const connection = sidekick.getConnectionFromClient();
  connection.onMessage((message) => {
    if (message.type === "listening" && message.resources[0] === "a")
      connection.sendMessage({ type: "listen", resources: ["b"] });
    if (message.type === "listening" && message.resources[0] === "b")
      one.sendMessage({ type: "listen", resources: ["c"] });
  });
  connection.sendMessage({ type: "listen", resources: ["a"] });
  await settled();
  assert.deepEqual(one.received, [{ type: "listening", resources: ["c"] }]);
  one.stop();
  await sidekick.getConnectionFromServer().update(["c"]);
  await settled();
  assert.equal(one.received.length, 1);
});

test("InternalSidekick: a server callback may publish at once", async () => {
  const sidekick = new InternalSidekick();
  const server = sidekick.getConnectionFromServer();
  const one = client(sidekick);
  for (const token of ["a", "b"])
    await server.addConnection({ token, channel: "c", params: {}, context: "x".repeat(1000) });
  sidekick.setServerCallback((channel, params, data) => {
    void server.postMessage({ channel, params, data });
    return Promise.resolve(null);
  });
  one.sendMessage({ type: "subscribe", token: "a" });
  for (const data of [1, 2])
    one.sendMessage({ type: "send", token: "b", channel: "c", params: {}, data });
  await settled();
  await settled();
  assert.deepEqual(
    one.received.map((message) => message.data),
    [undefined, 1, 2],
  );
});

test("InternalSidekick: returns the app server's mistakes as an Error", async () => {
  const server = new InternalSidekick({ token_bytes_max: 16 }).getConnectionFromServer();
  assert.match(
    (await server.addConnection({ token: "x".repeat(17), channel: "c", params: {}, context: 1 }))
      ?.message ?? "",
    /token/,
  );
});

test("a hub has every limit of limits.def, with its default", () => {
  const hub = Hub.create(module, '{"secrets":["s"]}');
  assert.deepEqual(
    hub.limits,
    Object.fromEntries(Object.entries(LIMITS).map(([name, limit]) => [name, limit.default])),
  );
});

test("rejects a wrong configuration with a text", () => {
  for (const config of [
    "",
    "{",
    "[]",
    "{}",
    '{"secrets":[]}',
    '{"secrets":[""]}',
    '{"secrets":["s"],"depth_max":0}',
    '{"secrets":["s"],"nonsense":1}',
    '{"secrets":["s"],"hash_seed":"x"}',
  ]) {
    assert.throws(
      () => Hub.create(module, config),
      (error: Error) => error instanceof ConfigError && error.message.length > 10,
      config,
    );
  }
});

test("rejects a module that is not a Sidekick module or has imports", async () => {
  const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  await assert.rejects(compileModule(empty), /this is another WebAssembly file/);
  const importing = Uint8Array.of(
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    1,
    4,
    1,
    0x60,
    0,
    0,
    2,
    7,
    1,
    1,
    0x61,
    1,
    0x62,
    0,
    0,
  );
  await assert.rejects(compileModule(importing), /expected no imports, found a\.b/);
  assert.equal(checkModule(module), module);
});

test("a host that breaks the contract traps the hub, which then reports that it is unusable", () => {
  const hub = Hub.create(module, '{"secrets":["s"]}');
  hub.handle(1, { type: "client_opened", client: 1 });
  assert.throws(() => hub.handle(1, { type: "client_opened", client: 1 }), ModuleTrap);
  assert.throws(() => hub.handle(1, { type: "client_opened", client: 2 }), /this hub is unusable/);
  assert.throws(() => hub.describe(), ModuleTrap);
  const other = Hub.create(module, '{"secrets":["s"]}');
  other.handle(1, { type: "client_opened", client: 1 });
});

test("memory may grow during a call: views are recreated", () => {
  const hub = Hub.create(
    module,
    '{"secrets":["s"],"http_body_bytes_max":60000000,"client_buffer_bytes_max":1000000000,"hash_seed":"0123456789abcdef"}',
  );
  const before = hub.memoryBytes;
  const listen = (client: number, resource: string) => {
    hub.handle(1, { type: "client_opened", client });
    return hub.handle(1, {
      type: "client_frame",
      client,
      bytes: JSON.stringify({ type: "listen", resources: [resource] }),
      is_text: 1,
    });
  };
  for (let client = 1; client <= 100; client++) {
    const resource = `r${client}`.padEnd(1000, "x");
    const sent = listen(client, resource).find((action) => action.type === "send");
    assert.deepEqual(JSON.parse(text(sent!.text)), { type: "listening", resources: [resource] });
    assert.deepEqual([...sent!.clients], [client]);
  }
  const body = readFileSync(new URL(import.meta.url))
    .toString("base64")
    .repeat(2000)
    .slice(0, 20_000_000);
  const actions = hub.handle(2, {
    type: "http_request",
    request: 1,
    method: "POST",
    path: "/message",
    authorization: "Bearer s",
    headers: "",
    body_bytes: body.length,
    body,
  });
  assert.equal(actions[0]!.type, "respond");
  assert.ok(hub.memoryBytes > before, `${hub.memoryBytes} bytes, ${before} before`);
});
