// --data: acknowledged tokens survive a killed process, and nothing that was not stored is
// acknowledged.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, stat } from "node:fs/promises";
import * as http from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { startAppServer } from "../shared/support/app-server.ts";
import { listen } from "../shared/support/left-open.ts";
import {
  eventually,
  RawConnection,
  registerToken,
  request,
  TestClient,
} from "../shared/support/sidekick.ts";
import type { Run } from "./support/server.ts";
import { cleanUp, isSpinning, newFolder, run, SECRET, sql } from "./support/server.ts";

after(cleanUp);

/**
 * An app server that answers `answer for DATA` to each message, when and in the order that the test
 * chooses.
 */
async function startAnswering() {
  const waiting = new Map<string, http.ServerResponse>();
  const server = http.createServer((incoming, response) => {
    let body = "";
    incoming
      .setEncoding("utf8")
      .on("data", (text: string) => (body += text))
      .on("end", () => waiting.set(JSON.parse(body).data, response));
  });
  return {
    url: `http://127.0.0.1:${await listen(server)}/`,
    /** Once all of them have arrived. */
    async answer(names: readonly string[]): Promise<void> {
      await eventually(() => names.every((name) => waiting.has(name)));
      for (const name of names) {
        await new Promise<void>((resolve) =>
          waiting
            .get(name)!
            .writeHead(400)
            .end(JSON.stringify({ fault: "client", message: `answer for ${name}` }), resolve),
        );
        // So that the Sidekick sees them in this order.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
  };
}

/** The first and the last client hold the tokens `sender` and `other`. */
async function threeClients(port: number): Promise<[TestClient, TestClient, TestClient]> {
  const clients = [
    await TestClient.connect(port),
    await TestClient.connect(port),
    await TestClient.connect(port),
  ] as [TestClient, TestClient, TestClient];
  for (const [client, token] of [
    [clients[0], "sender"],
    [clients[2], "other"],
  ] as const) {
    await registerToken(port, token, "chat", { room: token });
    await client.subscribe(token);
  }
  return clients;
}

function sendMessage(client: TestClient, token: string): void {
  client.send({ type: "send", token, channel: "chat", params: { room: token }, data: token });
}

/** The server handles all of these together in its next turn, in this order. */
async function inOneTurn(server: Run, sends: readonly (() => void)[]): Promise<void> {
  process.kill(server.pid, "SIGSTOP");
  for (const send of sends) {
    send();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  process.kill(server.pid, "SIGCONT");
}

test("no acknowledged token is lost when the process is killed under load", async () => {
  const data = await newFolder();
  const first = run(["--data", data]);
  const port = await first.port();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const acknowledged: string[] = [];
  let isKilled = false;
  const register = async (lane: number) => {
    for (let i = 0; !isKilled; i++) {
      const token = `token-${lane}-${i}`;
      const answer = await request(
        port,
        "/connection",
        JSON.stringify({ token, channel: "chat", params: { room: token }, context: i }),
        { agent },
      ).catch(() => undefined);
      if (answer === undefined) return;
      assert.equal(answer.status, 200);
      acknowledged.push(token);
      if (acknowledged.length === 500) {
        isKilled = true;
        void first.kill("SIGKILL");
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, lane) => register(lane)));
  await first.exit;
  agent.destroy();
  assert.ok(acknowledged.length >= 500, `only ${acknowledged.length} acknowledged`);

  const second = run(["--data", data]);
  const client = await TestClient.connect(await second.port());
  for (const token of acknowledged.slice(-200)) await client.subscribe(token);
  await client.settled();
  assert.equal(await second.kill("SIGTERM"), 0);
});

test("after a kill, a held token is free again, an unsubscribed one is gone, and contexts are unchanged", async () => {
  const data = await newFolder();
  const first = run(["--data", data]);
  const port = await first.port();
  const client = await TestClient.connect(port);
  for (const token of ["held", "gone"]) {
    await registerToken(port, token, "chat", { room: token }, { from: "ä" });
    await client.subscribe(token);
  }
  client.send({ type: "unsubscribe", token: "gone" });
  assert.equal((await client.next()).type, "unsubscribed");
  await first.kill("SIGKILL");

  const forwarded: string[] = [];
  const app = http.createServer((incoming, response) => {
    incoming
      .setEncoding("utf8")
      .on("data", (text: string) => forwarded.push(text))
      .on("end", () => response.writeHead(400).end('{ "fault": "client", "message": "seen" }'));
  });
  const second = run([
    "--data",
    data,
    "--server-url",
    `http://127.0.0.1:${await listen(app)}/`,
    "--server-secret",
    "s",
  ]);
  const again = await TestClient.connect(await second.port());
  again.send({ type: "subscribe", token: "gone" });
  assert.equal((await again.next()).type, "error");
  await again.subscribe("held");
  again.send({ type: "send", token: "held", channel: "chat", params: { room: "held" }, data: 1 });
  assert.equal((await again.next()).error.message, "seen");
  assert.deepEqual(JSON.parse(forwarded.join("")).context, { from: "ä" });
  assert.equal(await second.kill("SIGTERM"), 0);
});

test("tokens also survive an orderly shutdown; without --data they do not", async () => {
  for (const data of [await newFolder(), undefined]) {
    const flags = data === undefined ? [] : ["--data", data];
    const first = run(flags);
    await registerToken(await first.port(), "token-1");
    assert.equal(await first.kill("SIGTERM"), 0);
    const second = run(flags);
    const client = await TestClient.connect(await second.port());
    client.send({ type: "subscribe", token: "token-1" });
    assert.equal((await client.next()).type, data === undefined ? "error" : "subscribed");
    assert.equal(await second.kill("SIGTERM"), 0);
  }
});

test("only the owner may read the stored files", async () => {
  const data = join(await newFolder(), "new");
  const server = run(["--data", data]);
  await registerToken(await server.port(), "token-1");
  assert.equal((await stat(data)).mode & 0o777, 0o700);
  for (const file of ["tokens.sqlite", "tokens.sqlite-wal"])
    assert.equal((await stat(join(data, file))).mode & 0o777, 0o600);
  await server.kill("SIGTERM");
});

test("a recording with restored tokens replays byte for byte", async () => {
  const data = await newFolder();
  const first = run(["--data", data]);
  for (let i = 0; i < 20; i++)
    await registerToken(await first.port(), `token-${i}`, "chat", { room: "ä" });
  await first.kill("SIGKILL");
  const trace = join(data, "trace.jsonl");
  const second = run(["--data", data, "--record", trace]);
  const client = await TestClient.connect(await second.port());
  await client.subscribe("token-7");
  assert.equal(await second.kill("SIGTERM"), 0);
  const replay = execFileSync(process.execPath, ["worker/dist/node/replay-cli.js", trace], {
    encoding: "utf8",
  });
  assert.match(replay, /all actions equal/);
});

test("with a full disk nothing is acknowledged that is not stored; everything else continues, and writes resume once there is space", async () => {
  const data = await newFolder();
  // A file cannot grow beyond this limit, as on a full disk.
  const server = run(["--data", data], { before: "ulimit -S -f 1000; " });
  const port = await server.port();
  const [bystander, taker] = [await TestClient.connect(port), await TestClient.connect(port)];
  bystander.send({ type: "listen", resources: ["r"] });
  await bystander.next();
  const context = "x".repeat(20_000);
  const register = (token: string) =>
    request(port, "/connection", JSON.stringify({ token, channel: "chat", params: {}, context }));
  const statuses: number[] = [];
  while (!statuses.includes(503) && statuses.length < 200)
    statuses.push((await register(`token-${statuses.length}`)).status);
  assert.equal(statuses.at(-1), 503, "at last the disk is full");
  assert.ok(statuses.length > 5, `full after ${statuses.length} tokens`);
  assert.deepEqual(statuses.slice(0, -1), Array(statuses.length - 1).fill(200));
  await eventually(() =>
    /error storage failed; changes are rejected until it recovers error=/.test(server.output()),
  );

  taker.send({ type: "subscribe", token: "token-0" });
  assert.equal((await taker.closed).code, 1011, "taking a token changes what is stored");
  assert.equal((await request(port, "/resources", '{"resources":["r"]}')).status, 200);
  assert.deepEqual(await bystander.next(), { type: "updated", resource: "r" });
  await bystander.settled();

  execFileSync("prlimit", [`--pid=${server.pid}`, "--fsize=unlimited"]);
  await bystander.subscribe("token-0");
  const unlucky = await TestClient.connect(port);
  unlucky.send({ type: "subscribe", token: `token-${statuses.length - 1}` });
  assert.match(
    (await unlucky.next()).error.message,
    /^invalid token/,
    "the token that was not acknowledged does not exist",
  );
  for (const token of ["later", `token-${statuses.length - 1}`])
    assert.equal((await register(token)).status, 200);
  await bystander.subscribe(`token-${statuses.length - 1}`);
  await server.kill("SIGKILL");

  const second = run(["--data", data]);
  const client = await TestClient.connect(await second.port());
  for (const token of ["later", "token-0", `token-${statuses.length - 2}`])
    await client.subscribe(token);
  assert.equal(await second.kill("SIGTERM"), 0);
});

test("with a full disk, a request that closes its connection is not acknowledged either", async () => {
  const data = await newFolder();
  const server = run(["--data", data], { before: "ulimit -S -f 300; " });
  const port = await server.port();
  const body = (token: string) =>
    JSON.stringify({ token, channel: "chat", params: {}, context: "x".repeat(20_000) });
  const acknowledged: string[] = [];
  for (let i = 0; i < 30; i++) {
    const { status } = await request(port, "/connection", body(`token-${i}`), {
      headers: { Connection: "close" },
    });
    if (status === 200) acknowledged.push(`token-${i}`);
    else assert.equal(status, 503);
  }
  assert.ok(
    acknowledged.length > 0 && acknowledged.length < 30,
    `${acknowledged.length} of 30 acknowledged`,
  );
  await server.kill("SIGKILL");
  const second = run(["--data", data]);
  const client = await TestClient.connect(await second.port());
  for (const token of acknowledged) await client.subscribe(token);
  assert.equal(await second.kill("SIGTERM"), 0);
});

test("when a write fails, a later answer is not sent in place of an earlier one", async () => {
  const server = run(["--data", await newFolder()]);
  const port = await server.port();
  execFileSync("prlimit", [`--pid=${server.pid}`, "--fsize=1000"]);
  const body = '{"token":"t","channel":"chat","params":{}}';
  const raw = await RawConnection.connect(port);
  raw.write(
    `GET /health HTTP/1.1\r\nHost: x\r\n\r\nPOST /connection HTTP/1.1\r\nHost: x\r\n` +
      `Authorization: Bearer ${SECRET}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await raw.ended;
  assert.equal(raw.received.toString(), "");
  await server.kill("SIGKILL");
});

test("a failed write closes its requester only: others in the same turn get their answers", async () => {
  const data = await newFolder();
  const app = await startAnswering();
  const server = run(["--data", data, "--server-url", app.url, "--server-secret", "s"], {
    before: "",
  });
  const port = await server.port();
  const [sender, writer, other] = await threeClients(port);
  await registerToken(port, "w", "chat", { room: "w" });
  execFileSync("prlimit", [`--pid=${server.pid}`, "--fsize=1000"]);
  await inOneTurn(server, [
    () => sendMessage(sender, "sender"),
    () => writer.send({ type: "subscribe", token: "w" }),
  ]);
  assert.equal((await writer.closed).code, 1011);
  sendMessage(other, "other");
  await app.answer(["sender", "other"]);
  assert.equal((await sender.next()).error.message, "answer for sender");
  assert.equal((await other.next()).error.message, "answer for other");
  await server.kill("SIGKILL");
});

test("after a trap nobody gets an answer meant for someone else", async () => {
  const app = await startAnswering();
  const server = run(["--server-url", app.url, "--server-secret", "s"]);
  const port = await server.port();
  const [sender, culprit, other] = await threeClients(port);
  await inOneTurn(server, [() => sendMessage(sender, "sender"), () => culprit.send("trap!")]);
  assert.equal((await culprit.closed).code, 1011);
  sendMessage(other, "other");
  await app.answer(["sender", "other"]);
  assert.equal((await other.next()).error.message, "answer for other");
  await server.kill("SIGKILL");
});

test("a token that expires in the far future is valid and costs nothing until then", async () => {
  for (const expires of ["(1 << 62)", "-1", "int(time.time() * 1000) + 10**13"]) {
    const data = await newFolder();
    const first = run(["--data", data]);
    await registerToken(await first.port(), "token-1");
    assert.equal(await first.kill("SIGTERM"), 0);
    sql(data, `'update tokens set expires_at=%d' % (${expires})`);
    const second = run(["--data", data]);
    const port = await second.port();
    assert.equal(await isSpinning(second.pid), false, expires);
    const client = await TestClient.connect(port);
    await client.subscribe("token-1");
    assert.equal(await second.kill("SIGTERM"), 0);
  }
});

// data-before-abi-2: written by the server of commit 408fdf0, whose clock was 70 years ahead, so
// that no token expires; then kill -9.
test("a folder written before ABI version 2 is restored, every token", async () => {
  const data = await newFolder();
  await cp(new URL("data-before-abi-2", import.meta.url), data, { recursive: true });
  const app = await startAppServer();
  const server = run(["--data", data, "--server-url", app.url, "--server-secret", "s"]);
  const client = await TestClient.connect(await server.port());
  const tokens = [
    { token: "free", params: { room: "a" } }, // never taken
    { token: "freed", params: { room: "e" }, context: [1.5, true] }, // its client had left
    {
      token: "held",
      params: { room: "b, c/d:e\\" },
      context: { user: "ä", roles: [1, null, "x"] },
    },
    { token: "subscribed", params: {}, context: "text" },
    { token: "token-ü😀", params: { room: "ü", x: '"\\\n' }, context: null },
  ];
  for (const { token, params } of tokens) {
    client.send({ type: "subscribe", token });
    assert.deepEqual(await client.next(), { type: "subscribed", channel: "chat", params });
    client.send({ type: "send", token, channel: "chat", params, data: token });
  }
  await eventually(() => app.forwarded.length === tokens.length);
  const forwarded = app.forwarded.map(({ body }) => JSON.parse(body));
  for (const { token, params, context } of tokens)
    assert.deepEqual(
      forwarded.find(({ data }) => data === token),
      { channel: "chat", params, data: token, ...(context !== undefined && { context }) },
    );
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.doesNotMatch(server.output(), /dropped|expired/);
});
