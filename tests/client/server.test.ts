// covenant-sidekick/server with the npm server and the Node host.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { on, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CovenantClient } from "@covenant-rpc/client";
import ION from "@covenant-rpc/ion";
import { CovenantServer } from "@covenant-rpc/server";
import { WebSocket } from "ws";

import type { Sidekick } from "../../worker/src/node/index.ts";
import { startSidekick } from "../../worker/src/node/index.ts";
import { sidekickServer } from "../../worker/src/server/index.ts";
import { covenant } from "./support/covenant.ts";
import { Tunnel } from "./support/tunnel.ts";

const realFetch = globalThis.fetch;
const log = { debug() {}, info() {}, warn() {}, error() {} };
const options = { host: "127.0.0.1", secrets: ["secret"], log } as const;
const urlOf = ({ port }: { port: number }) => `http://127.0.0.1:${port}`;

/** A port on which nothing listens, and a Sidekick will. */
async function freePort(): Promise<number> {
  const sidekick = await startSidekick({ ...options, port: 0 });
  const { port } = sidekick;
  await sidekick.close();
  return port;
}

/** The names of `updated` that a client hears, in order. */
async function listener(sidekick: Sidekick, resources: string[]): Promise<AsyncIterator<string>> {
  const socket = new WebSocket(`${urlOf(sidekick).replace("http", "ws")}/socket`);
  const frames = on(socket, "message", { close: ["close"] });
  const messages = (async function* () {
    for await (const [data] of frames) {
      const message = ION.parse(String(data)) as { type: string; resource: string };
      yield message.type === "updated" ? message.resource : message.type;
    }
  })();
  await once(socket, "open");
  socket.send(ION.stringify({ type: "listen", resources }));
  assert.equal((await messages.next()).value, "listening");
  return messages;
}

/** Those that come before the end of `then`. */
async function heardBefore(
  messages: AsyncIterator<string>,
  sidekick: Sidekick,
  last: string,
): Promise<string[]> {
  const error = await sidekickServer(urlOf(sidekick), "secret").update([last]);
  assert.equal(error, null);
  const heard: string[] = [];
  for (let name = ""; name !== last; heard.push(name)) name = (await messages.next()).value;
  return heard;
}

test("an update arrives although Sidekick is down for 2 s", async () => {
  const tunnel = await Tunnel.start(0);
  const lost: string[][] = [];
  const server = sidekickServer(`${tunnel.url}/`, "secret", {
    onLost: (names) => lost.push(names),
  });
  const sidekick = await startSidekick({ ...options, port: 0 });
  try {
    const messages = await listener(sidekick, ["todos"]);
    const update = server.update(["todos"]);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    tunnel.target = sidekick.port;
    assert.equal((await messages.next()).value, "todos");
    assert.equal(await update, null);
    assert.deepEqual(lost, []);
  } finally {
    tunnel.close();
    await sidekick.close();
  }
});

test("resources whose update failed go with the next update, and onLost gets them", async () => {
  const bodies: unknown[] = [];
  let status = 503;
  const sidekick = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    bodies.push(ION.parse(Buffer.concat(chunks).toString()));
    response.writeHead(status).end("starting");
  });
  sidekick.listen(0, "127.0.0.1");
  await once(sidekick, "listening");
  const lost: string[][] = [];
  const url = urlOf(sidekick.address() as AddressInfo);
  const server = sidekickServer(url, "secret", { onLost: (names) => lost.push(names) });
  try {
    assert.match(String(await server.update(["a", "b"])), /POST \/resources failed: 503: starting/);
    assert.deepEqual(lost, [["a", "b"]]);
    assert.equal(bodies.length, 4);
    status = 200;
    assert.equal(await server.update(["b", "c"]), null);
    assert.deepEqual(bodies.at(-1), { resources: ["a", "b", "c"] });
    assert.equal(await server.update(["d"]), null);
    assert.deepEqual(bodies.at(-1), { resources: ["d"] });
    // Refused names would make the next update fail as well.
    status = 400;
    assert.match(String(await server.update(["e"])), /400: starting/);
    assert.equal(bodies.length, 7);
    status = 200;
    assert.equal(await server.update(["f"]), null);
    assert.deepEqual(bodies.at(-1), { resources: ["f"] });
  } finally {
    sidekick.close();
  }
});

for (const [title, waits] of [
  ["without waitUntil, a process that is frozen after its response loses the update", false],
  ["with waitUntil, the platform freezes the process only after the update", true],
] as const) {
  test(title, async () => {
    const tunnel = await Tunnel.start(0);
    const sidekick = await startSidekick({ ...options, port: 0 });
    const messages = await listener(sidekick, ["todos", "last"]);
    const program = fileURLToPath(new URL("support/frozen-platform.ts", import.meta.url));
    const env = { SIDEKICK_URL: tunnel.url, WAIT_UNTIL: waits ? "1" : "" };
    const app = spawn(process.execPath, ["--import", "tsx", program], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface(app.stdout)[Symbol.asyncIterator]();
    try {
      const [, appPort] = /^port (\d+)$/.exec((await lines.next()).value)!;
      const body = ION.stringify({ procedure: "change", inputs: null });
      const answer = await fetch(`http://127.0.0.1:${appPort}/?type=procedure`, {
        ...{ method: "POST", body },
      });
      assert.equal(answer.status, 201);
      await answer.text();
      if (!waits) assert.equal((await lines.next()).value, "frozen");
      tunnel.target = sidekick.port;
      if (waits) assert.equal((await lines.next()).value, "frozen");
      const heard = await heardBefore(messages, sidekick, "last");
      assert.deepEqual(heard, waits ? ["todos", "last"] : ["last"]);
    } finally {
      app.kill("SIGKILL");
      await once(app, "close");
      tunnel.close();
      await sidekick.close();
    }
  });
}

test("a wrong secret: the error names it, or both possible causes if the answer is delayed", async () => {
  const sidekick = await startSidekick({
    ...{ ...options, port: 0, config: { auth_failure_delay_ms: 0 } },
  });
  const silent = createServer(() => {});
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const payload = { token: "a-token-of-the-app-server", channel: "chat", params: {} };
  try {
    await assert.rejects(
      sidekickServer(urlOf(sidekick), "wrong").addConnection(payload),
      /^Error: Sidekick: POST \/connection failed: the secret is wrong \(401\)$/,
    );
    const url = urlOf(silent.address() as AddressInfo);
    const error = await sidekickServer(url, "wrong").postMessage({ channel: "chat", params: {} });
    assert.equal(
      error?.message,
      `Sidekick: POST /message failed: no answer within 3000 ms: Sidekick is unreachable at ` +
        `${url}, or the secret is wrong (Sidekick delays that answer)`,
    );
  } finally {
    await sidekick.close();
    silent.closeAllConnections();
    silent.close();
  }
});

test("a refused registration reaches the client as an error, without a token", async () => {
  const sidekick = await startSidekick({ ...options, port: 0, config: { channel_bytes_max: 3 } });
  const server = new CovenantServer(
    covenant as any,
    {
      contextGenerator: () => ({}),
      derivation: () => ({}),
      logLevel: "silent",
      sidekickConnection: sidekickServer(urlOf(sidekick), "secret"),
    } as any,
  );
  server.defineChannel("chat", { onConnect: () => null, onMessage() {} } as any);
  const app = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = `http://app${request.url}`;
    const body = Buffer.concat(chunks);
    const answer = await server.handle(new Request(url, { method: "POST", body }));
    response.writeHead(answer.status).end(await answer.text());
  });
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  const { httpClientToServer } = await import("@covenant-rpc/client/interfaces/http");
  const client = new CovenantClient(
    covenant as any,
    {
      serverConnection: httpClientToServer(urlOf(app.address() as AddressInfo), {}),
      sidekickConnection: { sendMessage() {}, onMessage: () => () => {} },
    } as any,
  );
  try {
    const connected = await client.connect("chat", { room: "1" } as never, null as never);
    assert.equal(connected.success, false);
    assert.equal(connected.token, null);
    assert.match(JSON.stringify(connected.error), /channel_bytes_max/);
  } finally {
    app.close();
    await sidekick.close();
  }
});

test("a channel message is retried only if the connection was refused", async () => {
  const port = await freePort();
  let messages = 0;
  const server = sidekickServer(`http://127.0.0.1:${port}`, "secret");
  const message = { channel: "chat", params: {}, data: 1 };
  const tries: Promise<Response>[] = [];
  globalThis.fetch = (...request) => {
    tries.push(realFetch(...request));
    return tries.at(-1)!;
  };
  const posted = server.postMessage(message);
  await assert.rejects(tries[0]!);
  const sidekick = createServer((request) => {
    messages++;
    request.socket.destroy();
  });
  sidekick.listen(port, "127.0.0.1");
  assert.match(String(await posted), /POST \/message failed/);
  assert.equal(messages, 1);
  assert.ok(tries.length > 1, "it did not retry");
  globalThis.fetch = realFetch;
  sidekick.close();
});

test("a registration is repeated even if Sidekick may have it; a message is not", async () => {
  const paths: (string | undefined)[] = [];
  const sidekick = createServer((request, response) => {
    if (paths.push(request.url) % 2 === 0) response.end();
    else request.socket.destroy();
  });
  sidekick.listen(0, "127.0.0.1");
  await once(sidekick, "listening");
  const server = sidekickServer(urlOf(sidekick.address() as AddressInfo), "secret");
  try {
    const payload = { token: "a-token-of-the-app-server", channel: "chat", params: {} };
    assert.equal(await server.addConnection(payload), null);
    const posted = await server.postMessage({ channel: "chat", params: {} });
    assert.match(String(posted), /POST \/message failed/);
    assert.deepEqual(paths, ["/connection", "/connection", "/message"]);
  } finally {
    sidekick.closeAllConnections();
    sidekick.close();
  }
});

test("the first try starts at once, before a platform can freeze the process", async () => {
  let posts = 0;
  globalThis.fetch = async () => new Response(`${++posts}`);
  try {
    const updated = sidekickServer("http://sidekick", "secret").update(["todos"]);
    assert.equal(posts, 1);
    assert.equal(await updated, null);
  } finally {
    globalThis.fetch = realFetch;
  }
});

test("callbacks that throw do not make a mutation fail", async () => {
  const fail = () => {
    throw new Error("called outside a request");
  };
  const server = sidekickServer("http://sidekick", "secret", { waitUntil: fail, onLost: fail });
  let status = 200;
  globalThis.fetch = async () => new Response("too many", { status });
  try {
    assert.equal(await server.update(["todos"]), null);
    status = 400;
    assert.match(String(await server.update(["todos"])), /400: too many; and onLost failed: Error/);
  } finally {
    globalThis.fetch = realFetch;
  }
});

test("the error of a host with several addresses says why none was reached", async () => {
  globalThis.fetch = async () => {
    const cause = Object.assign(new AggregateError([], ""), { code: "EHOSTUNREACH" });
    throw new TypeError("fetch failed", { cause });
  };
  try {
    const error = await sidekickServer("http://sidekick", "secret").postMessage({
      ...{ channel: "chat", params: {} },
    });
    assert.match(String(error), /fetch failed: EHOSTUNREACH$/);
  } finally {
    globalThis.fetch = realFetch;
  }
});
