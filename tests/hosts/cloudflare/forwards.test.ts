// App servers that redirect, fail, hang or answer without end: the sender gets a clear error, and
// nobody else is affected.
import assert from "node:assert/strict";
import * as http from "node:http";
import { after, afterEach, test } from "node:test";
import { VERSION } from "../../../worker/src/version.ts";
import type { Answer } from "../shared/support/app-server.ts";
import { REFUSING_URL } from "../shared/support/app-server.ts";
import { listen } from "../shared/support/left-open.ts";
import {
  NOWHERE,
  RAW_ANSWERS,
  startRawServer,
  toldOf,
  writeRaw,
} from "../shared/support/raw-answers.ts";
import {
  closeEverything,
  eventually,
  health,
  post,
  registerToken,
  SECRET,
  sender,
  settle,
  start,
  startApp,
  startWithApp,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

/** A server that must not be called. */
const visitors: string[] = [];
const visited = http.createServer((request, response) => {
  visitors.push(request.url ?? "");
  response.end();
});
const elsewhere = `http://127.0.0.1:${await listen(visited)}/elsewhere`;

const refusal = '{ "fault": "client", "message": "not you" }';
const long = `{ "fault": "client", "message": "${"x".repeat(200)}" }`;

for (const [what, answer, expected] of [
  ["fails", (response) => response.writeHead(500).end("oops"), /"fault": "server".*answered 500/],
  [
    "refuses",
    (response) => response.writeHead(400).end(refusal),
    /"fault": "client", "message": "not you"/,
  ],
  [
    "sends elsewhere",
    (response) => response.writeHead(302, { Location: elsewhere }).end(),
    /"fault": "server".*answered 302/,
  ],
  [
    "babbles",
    (response) => response.writeHead(500).end("x".repeat(1_000_000)),
    /"fault": "server".*answered 500/,
  ],
  [
    "rejects with an overlong answer",
    (response) => response.writeHead(400).end(long),
    /"fault": "server".*answered 400/,
  ],
  [
    "rejects without end",
    (response) => void endless(response.writeHead(400)),
    /"fault": "server".*answered 400/,
  ],
  [
    "breaks off",
    (response) => response.destroy(),
    /"fault": "server".*closed the connection without an answer/,
  ],
  [
    "breaks off in its body",
    (response) =>
      response.writeHead(400, { "Content-Length": 10 }).write("x", () => response.destroy()),
    /"fault": "server".*answered 400/,
  ],
] as [string, Answer, RegExp][]) {
  test(`an app server that ${what} affects only the sender, who gets an error`, async () => {
    const isBad = ({ body }: { body: string }) => body.includes('"first"');
    const { app, sidekick } = await startWithApp(
      (response, forwarded) =>
        isBad(forwarded)
          ? answer(response, forwarded)
          : response.writeHead(400).end(refusal.replace("not you", "of the other channel")),
      { limits: { forward_answer_bytes_max: 128 } },
    );
    const { client, send } = await sender(sidekick.port);
    const other = await sender(sidekick.port, "2");
    send("first");
    other.send("meanwhile");
    assert.match(await other.client.nextText(), /of the other channel/);
    assert.match(await client.nextText(), expected);
    send("second");
    assert.match(await client.nextText(), /of the other channel/);
    assert.equal(app.forwarded.length, 3);
    for (const { url, headers } of app.forwarded) {
      assert.equal(headers.authorization, "Bearer server-secret");
      assert.match(url, /tenant=a(%20|\+)b&type=channel$/);
    }
    assert.equal((await health(sidekick.port)).forwards, 0);
    assert.deepEqual([...(await settle(client)), ...(await settle(other.client))], []);
    assert.deepEqual(visitors.splice(0), []);
  });
}

// Near the end of its time, the status of an unfinished answer is the result.
for (const [what, answer, expected, forward_timeout_ms] of [
  ["hangs", () => {}, /did not answer within 300 ms/, 300],
  [
    "hangs after its headers or in its body",
    (response, { body }) => {
      response.writeHead(400).flushHeaders();
      if (body.includes('"2"')) response.write(refusal.slice(0, 20));
    },
    /answered 400/,
    4000,
  ],
] as [string, Answer, RegExp, number][]) {
  test(`an app server that ${what} gives each sender an error, and nothing stays in flight`, async () => {
    // No other client here: on a slow machine 300 ms may be too short for any. The last test of
    // this file covers other clients.
    const { app, sidekick } = await startWithApp(answer, { limits: { forward_timeout_ms } });
    const [one, other] = [await sender(sidekick.port), await sender(sidekick.port, "2")];
    const sent = forward_timeout_ms === 300 ? [one, one, other] : [one, other];
    for (const { send } of sent) send("hello");
    for (const { client } of sent) {
      const told = await client.nextText();
      assert.match(told, /"fault": "server"/);
      assert.match(told, expected);
    }
    await eventually(() => app.openConnections === 0);
    assert.equal((await health(sidekick.port)).forwards, 0);
    await sidekick.evict("hibernate");
    assert.deepEqual([...(await settle(one.client)), ...(await settle(other.client))], []);
    assert.equal(await sidekick.constructed(), 2);
  });
}

test("a forward that the hub drops is cancelled at the app server", async () => {
  const app = await startApp(() => {});
  const hub = (forward_timeout_ms: number) => ({
    secret: SECRET,
    server_url: app.url,
    limits: { forward_timeout_ms },
  });
  // Much less than the time after which the request would end by itself.
  const hubs = { localhost: hub(300), "late.test": hub(3000) };
  const { port } = await start({ env: { SIDEKICK_HUBS: JSON.stringify(hubs) } });
  const ends: string[] = [];
  for (const Host of Object.keys(hubs)) {
    const token = { token: "token-to-send-with", channel: "chat", params: {} };
    await post(port, "/connection", { ...token, context: null }, { Host });
    const client = await TestClient.connect(port, { Host });
    client.send({ type: "send", ...token, data: 1 });
    await eventually(() => app.forwarded.length === (Host === "localhost" ? 1 : 2));
    void client.nextText().then(() => ends.push(`${Host}: ${app.openConnections}`));
  }
  await eventually(() => ends.length === 2);
  assert.match(ends[1]!, /late.test: [01]$/); // its own may still be there
});

for (const [what, answer] of [
  ["hangs", (response) => response.writeHead(200).write("x")],
  [
    "breaks off",
    (response) =>
      response.writeHead(200, { "Content-Length": 10 }).write("x", () => response.destroy()),
  ],
  ["has no end", (response) => void endless(response.writeHead(200))],
] as [string, Answer][]) {
  test(`a 2xx status counts even if the body ${what}: the next message is sent, and no error is reported`, async () => {
    const { app, sidekick } = await startWithApp(answer);
    const { client, send } = await sender(sidekick.port);
    for (let i = 0; i < 3; i++) send(i);
    await eventually(() => app.forwarded.length === 3);
    await eventually(async () => (await health(sidekick.port)).forwards === 0);
    assert.deepEqual(await settle(client), []);
    await sidekick.evict("hibernate"); // nothing of the answers is in flight any more
  });
}

// Each answer comes to a hub of its own, from an app server of its own: the runtime reuses a
// connection even if bytes of the previous answer are left on it (docs/deploy-cloudflare.md).
test("the final status of an answer is the result, whatever is wrong with the rest", async () => {
  const hubs: Record<string, unknown> = {};
  const rows = await Promise.all(
    RAW_ANSWERS.map(async (answer, index) => {
      const app = await startRawServer((socket) => writeRaw(socket, answer));
      const Host = `hub-${index}.test`;
      hubs[Host] = { secret: SECRET, server_url: app.url };
      return { answer, app, Host };
    }),
  );
  const { port } = await start({ env: { SIDEKICK_HUBS: JSON.stringify(hubs) } });
  const told: Record<string, string> = {};
  const expected: Record<string, string> = {};
  const tell = async ({ answer, app, Host }: (typeof rows)[number]) => {
    const token = { token: "token-to-send-with", channel: "chat", params: {} };
    await post(port, "/connection", { ...token, context: null }, { Host });
    const client = await TestClient.connect(port, { Host });
    client.send({ type: "send", ...token, data: 1 });
    await eventually(() => app.taken === 1);
    await eventually(async () => (await health(port, { Host })).forwards === 0);
    const messages = (await settle(client)).join();
    told[answer.name] = toldOf(messages) ?? messages;
    expected[answer.name] = answer.toldByWorker ?? answer.told;
    await client.close();
  };
  await Promise.all(rows.map(tell));
  assert.deepEqual(told, expected);
});

for (const status of [307, 308]) {
  test(`follows a ${status} with the same body, and sends the secret to the same origin only`, async () => {
    const other = await startApp((response) => response.writeHead(400).end(refusal));
    const { app, sidekick } = await startWithApp((response, { url }) => {
      const isMoved = url.startsWith("/moved");
      response.writeHead(status, { Location: isMoved ? other.url : "/moved?a=b" }).end("moved");
    });
    const { client, send } = await sender(sidekick.port);
    send({ x: "ä" });
    assert.match(await client.nextText(), /not you/);
    const [first, moved] = app.forwarded;
    const [last] = other.forwarded;
    assert.deepEqual(
      [moved!.method, moved!.url, moved!.body, moved!.headers.authorization],
      ["POST", "/moved?a=b", first!.body, "Bearer server-secret"],
    );
    assert.deepEqual(
      [last!.method, last!.body, last!.headers.authorization],
      ["POST", first!.body, undefined],
    );
    assert.equal(first!.headers["user-agent"], `covenant-sidekick/${VERSION}`);
    assert.match(sidekick.output(), /the app server redirects: set SIDEKICK_SERVER_URL/);
  });
}

test("a redirect with an unusable Location is an error; of two, the first is followed", async () => {
  const { app, sidekick } = await startWithApp(() => {});
  const { client, send } = await sender(sidekick.port);
  for (const Location of NOWHERE) {
    app.answer = (response) => response.writeHead(307, { Location }).end();
    send(1);
    assert.match(await client.nextText(), /"fault": "server".*answered 307/, Location);
  }
  assert.equal(app.forwarded.length, NOWHERE.length);
  app.answer = (response, { url }) =>
    url.startsWith("/api")
      ? response.writeHead(307, { Location: ["../x%20y/./z?a=/b:c", "/other"] }).end()
      : response.writeHead(204).end();
  send(2);
  await eventually(() => app.forwarded.length === NOWHERE.length + 2);
  assert.equal(app.forwarded.at(-1)!.url, "/x%20y/z?a=/b:c");
  assert.deepEqual(await settle(client), []);
});

test("follows at most five redirects, and none that would turn the POST into a GET", async () => {
  const { app, sidekick } = await startWithApp((response) =>
    response.writeHead(308, { Location: "/again" }).end(),
  );
  const { client, send } = await sender(sidekick.port);
  send(1);
  assert.match(await client.nextText(), /"fault": "server".*answered 308/);
  assert.equal(app.forwarded.length, 6);
  app.answer = (response) => response.writeHead(301, { Location: "/final?secret=1" }).end();
  send(2);
  assert.match(await client.nextText(), /"fault": "server".*answered 301/);
  await eventually(() => sidekick.output().includes(`to ${new URL("/final", app.url)}\n`));
});

/** Until the reader closes the connection. */
function endless(response: http.ServerResponse): void {
  const more = () => {
    while (!response.destroyed && response.write("x".repeat(1000)));
  };
  response.on("drain", more);
  more();
}

test("without a reachable app server, the sender gets an error", async () => {
  const { port } = await start();
  const { client, send } = await sender(port);
  send(1);
  assert.match(await client.nextText(), /"fault": "server"/);
  const { port: other } = await start({ env: { SIDEKICK_SERVER_URL: REFUSING_URL } });
  const second = await sender(other);
  second.send(1);
  assert.match(
    await second.client.nextText(),
    /"fault": "server".*closed the connection without an answer/,
  );
});

test("a hanging forward delays neither the next frame of its socket, nor other clients, nor other channels", async () => {
  const held: http.ServerResponse[] = [];
  const { app, sidekick } = await startWithApp((response, { body }) => {
    if (body.includes("hang")) held.push(response);
    else response.writeHead(204).end();
  });
  const { client, send } = await sender(sidekick.port);
  send("hang");
  // More than the six pending connections that Cloudflare allows an object.
  for (let i = 0; i < 12; i++) {
    await registerToken(sidekick.port, `token-of-hanging-room-${i}`, "chat", {
      roomId: `hang-${i}`,
    });
    client.send({
      type: "send",
      token: `token-of-hanging-room-${i}`,
      channel: "chat",
      params: { roomId: `hang-${i}` },
      data: 1,
    });
  }
  await eventually(async () => held.length === 13);
  client.send({ type: "listen", resources: ["todo/1"] });
  assert.equal((await client.next()).type, "listening");
  await registerToken(sidekick.port, "token-of-another-room", "chat", { roomId: "2" });
  client.send({
    type: "send",
    token: "token-of-another-room",
    channel: "chat",
    params: { roomId: "2" },
    data: "through",
  });
  await eventually(async () => app.forwarded.length === 14);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "at last" }');
  assert.match(await client.nextText(), /at last/);
});
