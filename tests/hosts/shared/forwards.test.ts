// How a host handles the app server: its answers, redirects and connections. The Node host in
// this process, or the one that SIDEKICK_COMMAND starts. The Worker is tried with the same answers.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import * as https from "node:https";
import type { Socket } from "node:net";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as tls from "node:tls";
import { VERSION } from "../../../worker/src/version.ts";
import { startAppServer } from "./support/app-server.ts";
import { makeCertificate } from "./support/certificate.ts";
import { command, startCommand } from "./support/command.ts";
import { closeEverything, listen } from "./support/left-open.ts";
import { NOWHERE, RAW_ANSWERS, startRawServer, toldOf, writeRaw } from "./support/raw-answers.ts";
import type { TestOptions, TestSidekick } from "./support/sidekick.ts";
import {
  eventually,
  registerToken,
  SECRET,
  startTestSidekick,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);

const OWN_ERROR = '{ "fault": "client", "message": "nope" }';
const ACCEPTED = "HTTP/1.1 204 No Content\r\n\r\n";

async function start(serverUrl: string, options: TestOptions = {}) {
  const sidekick = await startTestSidekick({ serverUrl, serverSecret: "secret", ...options });
  const client = await TestClient.connect(sidekick.port);
  const sender = async (token: string) => {
    await registerToken(sidekick.port, token, "chat", { token });
    return (data: unknown) =>
      client.send({ type: "send", token, channel: "chat", params: { token }, data });
  };
  return { sidekick, client, sender, send: await sender("token") };
}

/** Resolves when the app server has answered, and the sender has been told whatever there is. */
async function allAnswered(client: TestClient, sidekick: { port: number }): Promise<string[]> {
  const told: string[] = [];
  const headers = { Authorization: `Bearer ${SECRET}` };
  await eventually(async () => {
    const answer = await fetch(`http://127.0.0.1:${sidekick.port}/health`, { headers });
    return ((await answer.json()) as { forwards: number }).forwards === 0;
  });
  client.send('{"type":"ping"}');
  for (;;) {
    const message = await client.nextText();
    if (message.includes('"pong"')) return told;
    told.push(message);
  }
}

test("the final status of an answer is the result, whatever is wrong with the rest", async (t) => {
  const app = await startRawServer(() => {});
  const { sidekick, client, send } = await start(app.url);
  for (const answer of RAW_ANSWERS) {
    await t.test(answer.name, async () => {
      app.answer = (socket) => writeRaw(socket, answer);
      const { taken } = app;
      send(1);
      await eventually(() => app.taken === taken + 1);
      const messages = (await allAnswered(client, sidekick)).join();
      assert.equal(toldOf(messages) ?? messages, answer.told);
      // The next message gets its own answer.
      app.answer = (socket) => socket.write(ACCEPTED);
      send(2);
      await eventually(() => app.taken === taken + 2);
      assert.deepEqual(await allAnswered(client, sidekick), []);
    });
  }
  await client.close();
  await sidekick.close();
});

test("near the end of its time, the status of an unfinished answer is the result", async () => {
  const app = await startRawServer((socket) => socket.write(answers[app.taken - 1]!));
  const other = await startRawServer((socket) => socket.write(ACCEPTED));
  const answers = [
    "HTTP/1.1 400 Bad Request\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n",
    `HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n${OWN_ERROR}`,
    `HTTP/1.1 307 Moved\r\nContent-Length: 9\r\nLocation: ${other.url}\r\n\r\n`,
  ];
  const config = { forward_timeout_ms: 5000 };
  const { sidekick, client, sender } = await start(app.url, { config });
  for (const [i, token] of ["a", "b", "c", "d"].entries()) {
    (await sender(token))(1);
    await eventually(() => app.taken === i + 1);
  }
  const told = (await allAnswered(client, sidekick)).map((message) => toldOf(message) ?? message);
  assert.deepEqual(told, ["status 400", "status 400", "own error"]);
  assert.equal(other.taken, 1);
  await client.close();
  await sidekick.close();
});

test("a forward without an answer in time is an error to its sender and a line in the log", async () => {
  const app = await startRawServer(() => {});
  const { sidekick, client, send } = await start(app.url, { config: { forward_timeout_ms: 50 } });
  send(1);
  assert.match(await client.nextText(), /did not answer within 50 ms/);
  await eventually(() =>
    sidekick.logLines.some((line) => /a forward failed .*forward_timeout_ms/.test(line)),
  );
  await client.close();
  await sidekick.close();
});

test("a connection is closed after an answer with an ambiguous end: the bytes after it answer nothing", async () => {
  const stray = '{ "fault": "client", "message": "stray" }';
  const sockets = new Set<Socket>();
  // A moment later, when another message might be under way.
  const app = await startRawServer((socket) => {
    sockets.add(socket);
    socket.write("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
    setTimeout(
      () =>
        socket.write(
          `0\r\n\r\nHTTP/1.1 400 Bad Request\r\nContent-Length: ${stray.length}\r\n\r\n${stray}`,
        ),
      3,
    );
  });
  const { sidekick, client, sender } = await start(app.url);
  const senders = [await sender("a"), await sender("b"), await sender("c")];
  for (let round = 0; round < 10; round++) {
    for (const send of senders) send(round);
    await eventually(() => app.taken === (round + 1) * senders.length);
  }
  assert.deepEqual(await allAnswered(client, sidekick), []);
  assert.equal(sockets.size, 30); // one message on each connection
  await client.close();
  await sidekick.close();
});

test("an answer that came before the app server closed the connection counts, however long the message", async () => {
  // Reads no more than it needs for its answer: the system resets the connection.
  const refuse = (socket: Socket) =>
    socket.once("data", () => {
      socket.pause();
      writeRaw(socket, RAW_ANSWERS.find(({ told }) => told === "own error")!);
      socket.resetAndDestroy();
    });
  const port = await listen(net.createServer(refuse));
  const { sidekick, client, send } = await start(`http://127.0.0.1:${port}/`);
  for (let i = 0; i < 5; i++) {
    send("x".repeat(1_000_000));
    assert.equal(toldOf(await client.nextText()), "own error");
  }
  await client.close();
  await sidekick.close();
});

// Idle connections. The time allowed here is so long that a test would not see the end of it.

const LONG = { serverIdleSeconds: 3600 };

test("bytes on an idle connection close it", async () => {
  const app = await startRawServer((socket) => {
    socket.write(ACCEPTED);
    setTimeout(() => socket.write("HTTP/1.1 408 Request Timeout\r\n\r\n"), 5);
  });
  const { sidekick, client, send } = await start(app.url, LONG);
  send(1);
  await eventually(() => app.taken === 1 && app.openConnections === 0);
  assert.deepEqual(await allAnswered(client, sidekick), []);
  await client.close();
  await sidekick.close();
});

test("an idle connection is closed before the app server closes it, as announced", async () => {
  const app = await startAppServer((response) =>
    response.writeHead(204, { "Keep-Alive": "timeout=1, max=100" }).end(),
  );
  const { sidekick, client, send } = await start(app.url, LONG);
  send(1);
  await eventually(() => app.forwarded.length === 1 && app.openConnections === 0);
  await client.close();
  await sidekick.close();
});

test("after the app server has closed an idle connection, the host keeps others for a shorter time", async () => {
  const app = await startRawServer((socket) => {
    socket.write(ACCEPTED);
    if (app.taken === 1) setTimeout(() => socket.end(), 100);
  });
  const { sidekick, client, send } = await start(app.url, LONG);
  send(1);
  await eventually(() => app.taken === 1 && app.openConnections === 0);
  send(2);
  await eventually(() => app.taken === 2 && app.openConnections === 0);
  await client.close();
  await sidekick.close();
});

test("without idle time, each message has a connection of its own", async () => {
  const app = await startAppServer();
  const { sidekick, client, send } = await start(app.url, { serverIdleSeconds: 0 });
  for (let data = 0; data < 3; data++) send(data);
  await eventually(() => app.forwarded.length === 3);
  assert.deepEqual(await allAnswered(client, sidekick), []);
  assert.equal(app.connections, 3);
  await eventually(() => app.openConnections === 0);
  await client.close();
  await sidekick.close();
});

// Redirects

for (const status of [307, 308]) {
  test(`follows a ${status} with the same body, and sends the secret to the same origin only`, async () => {
    const other = await startAppServer((response) => response.writeHead(400).end(OWN_ERROR));
    const app = await startAppServer((response, { url }) => {
      const isMoved = url.startsWith("/moved");
      response.writeHead(status, { Location: isMoved ? other.url : "/moved?a=b" }).end("moved");
    });
    const { sidekick, client, send } = await start(app.url);
    send({ x: "ä" });
    assert.equal(toldOf(await client.nextText()), "own error");
    const [first, moved, last] = [...app.forwarded, ...other.forwarded];
    assert.deepEqual(
      [moved!.method, moved!.url, moved!.body, moved!.headers.authorization],
      ["POST", "/moved?a=b", first!.body, "Bearer secret"],
    );
    assert.deepEqual(
      [last!.method, last!.url, last!.body, last!.headers.authorization],
      ["POST", "/api/covenant?tenant=a%20b", first!.body, undefined],
    );
    assert.equal(last!.headers["content-type"], "application/json");
    await eventually(() =>
      sidekick.logLines.some((line) =>
        /the app server redirects: set --server-url to the final address .*location=/.test(line),
      ),
    );
    await client.close();
    await sidekick.close();
  });
}

test("follows a relative redirect, and the first of two", async () => {
  const app = await startAppServer((response, { url }) =>
    url.startsWith("/api")
      ? response.writeHead(307, { Location: ["../x%20y/./z?a=/b:c", "/other"] }).end()
      : response.writeHead(204).end(),
  );
  const { sidekick, client, send } = await start(app.url);
  send(1);
  await eventually(() => app.forwarded.length === 2);
  assert.equal(app.forwarded[1]!.url, "/x%20y/z?a=/b:c");
  assert.deepEqual(await allAnswered(client, sidekick), []);
  await client.close();
  await sidekick.close();
});

test("follows at most five redirects", async () => {
  const app = await startAppServer((response) =>
    response.writeHead(308, { Location: "/again" }).end(),
  );
  const { sidekick, client, send } = await start(app.url);
  send(1);
  assert.match(await client.nextText(), /"fault": "server".*answered 308/);
  assert.equal(app.forwarded.length, 6);
  await client.close();
  await sidekick.close();
});

test("a redirect with an unusable Location is an error", async () => {
  const app = await startAppServer();
  const { sidekick, client, send } = await start(app.url);
  for (const headers of [{}, ...NOWHERE.map((Location) => ({ Location }))]) {
    app.answer = (response) => response.writeHead(307, headers).end();
    send(1);
    const told = await client.nextText();
    assert.match(told, /"fault": "server".*answered 307/, JSON.stringify(headers));
  }
  assert.equal(app.forwarded.length, 1 + NOWHERE.length);
  await client.close();
  await sidekick.close();
});

for (const status of [301, 302, 303]) {
  test(`does not follow a ${status}, which would turn the POST into a GET: the log says what to set`, async () => {
    const app = await startAppServer((response) =>
      response.writeHead(status, { Location: "/final?secret=1" }).end(),
    );
    const { sidekick, client, send } = await start(app.url);
    send(1);
    assert.match(await client.nextText(), new RegExp(`"fault": "server".*answered ${status}`));
    const hint = `set --server-url to ${new URL("/final", app.url)}"`;
    await eventually(() => sidekick.logLines.some((line) => line.includes(hint)));
    assert.equal(app.forwarded.length, 1);
    await client.close();
    await sidekick.close();
  });
}

// TLS

/** A host that trusts this certificate. */
function startTrusting(certFile: string, serverUrl: string): Promise<TestSidekick> {
  const host = command ?? [process.execPath, "worker/bin/sidekick-serve.js"];
  const trust = [`NODE_EXTRA_CA_CERTS=${certFile}`, `SSL_CERT_FILE=${certFile}`];
  const options = { secrets: [SECRET], serverUrl, serverSecret: "secret" };
  return startCommand(options, ["env", ...trust, ...host]);
}

const HEAD = "HTTP/1.1 400 Bad Request\r\n";
const WITH_LENGTH = `${HEAD}Content-Length: ${OWN_ERROR.length}\r\n\r\n${OWN_ERROR}`;

// Deno takes no certificate that is its own authority, as that of this test is.
const isDeno = command?.some((part) => part.includes("deno")) === true;

test("the status of an app server with https counts, even if the end of TLS is missing", {
  skip: isDeno && "Deno does not trust the certificate of this test",
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const { certFile, keyFile } = makeCertificate(folder, "IP:127.0.0.1");
  const answers = [
    { bytes: WITH_LENGTH, told: "own error" },
    { bytes: WITH_LENGTH, told: "own error" },
    { bytes: `${HEAD}\r\n${OWN_ERROR}`, cut: true, told: "own error" },
    { bytes: `${HEAD}\r\n${OWN_ERROR.slice(0, 20)}`, cut: true, told: "status 400" },
    { bytes: HEAD, cut: true, told: "status 400" },
    { bytes: "HTTP/1.1 40", cut: true, told: "broken off" },
  ];
  const seen: string[] = [];
  let connections = 0;
  const app = tls.createServer(
    { cert: await readFile(certFile), key: await readFile(keyFile) },
    (socket) => {
      connections++;
      let received = "";
      socket.on("error", () => {}).setEncoding("utf8");
      socket.on("data", (text: string) => {
        received += text;
        // Closing with unread bytes would reset the connection.
        const [head = "", body] = received.split("\r\n\r\n");
        if (body === undefined || body.length < Number(/content-length: (\d+)/i.exec(head)?.[1]))
          return;
        received = "";
        const { bytes, cut } = answers[seen.length]!;
        seen.push(/^authorization: (.*)$/im.exec(head)?.[1] ?? "none");
        const parent = (socket as unknown as { _parent: Socket })._parent;
        socket.write(bytes, () => cut === true && parent.destroy());
      });
    },
  );
  const port = await listen(app);
  const sidekick = await startTrusting(certFile, `https://127.0.0.1:${port}/`);
  await registerToken(sidekick.port, "token");
  const client = await TestClient.connect(sidekick.port);
  for (const { told } of answers) {
    client.send({ type: "send", token: "token", channel: "chat", params: {}, data: 1 });
    const message = await client.nextText();
    assert.equal(toldOf(message) ?? message, told);
  }
  // A cut ends its connection. Whether a whole answer's is used again depends on which comes first
  // at the host: the end of its check, or the next message.
  assert.ok(connections >= 4, `${connections} connections`);
  assert.deepEqual(new Set(seen), new Set(["Bearer secret"]));
  await client.close();
  await sidekick.close();
  await rm(folder, { recursive: true });
});

test("sends nothing to an app server whose certificate is for another name, or not trusted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const { certFile, keyFile } = makeCertificate(folder, "DNS:example.com,IP:127.0.0.9");
  const app = https.createServer(
    { cert: await readFile(certFile), key: await readFile(keyFile) },
    () => assert.fail("a request came"),
  );
  const port = await listen(app);
  const trusting = await startTrusting(certFile, `https://localhost:${port}/`);
  const { sidekick } = await start(`https://localhost:${port}/`);
  for (const one of [trusting, sidekick]) {
    await registerToken(one.port, "another");
    const client = await TestClient.connect(one.port);
    client.send({ type: "send", token: "another", channel: "chat", params: {}, data: 1 });
    assert.equal(toldOf(await client.nextText()), "unreachable");
    await client.close();
    await one.close();
  }
  await rm(folder, { recursive: true });
});

test("a forward has a User-Agent", async () => {
  const app = await startAppServer();
  const { sidekick, client, send } = await start(app.url);
  send(1);
  await eventually(() => app.forwarded.length === 1);
  assert.equal(app.forwarded[0]!.headers["user-agent"], `covenant-sidekick/${VERSION}`);
  await client.close();
  await sidekick.close();
});
