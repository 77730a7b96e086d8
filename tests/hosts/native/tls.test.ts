// TLS on both sides: https and wss for clients, and an app server with a certificate.
import assert from "node:assert/strict";
import { chmod, readFile } from "node:fs/promises";
import * as https from "node:https";
import { after, before, test } from "node:test";
import * as tls from "node:tls";
import { WebSocket } from "ws";
import { makeCertificate } from "../shared/support/certificate.ts";
import { listen } from "../shared/support/left-open.ts";
import {
  eventually,
  RawConnection,
  registerToken,
  TestClient,
} from "../shared/support/sidekick.ts";
import { cleanUp, isSpinning, newFolder, run, SECRET } from "./support/server.ts";

after(cleanUp);

let certFile: string;
let keyFile: string;
let cert: Buffer;
before(async () => {
  const folder = await newFolder();
  ({ certFile, keyFile } = makeCertificate(folder, "DNS:localhost,IP:127.0.0.1"));
  cert = await readFile(certFile);
});

test("warns if every user can read the private key", async () => {
  for (const mode of [0o644, 0o640]) {
    await chmod(keyFile, mode);
    const server = run(["--tls-cert", certFile, "--tls-key", keyFile]);
    await server.port();
    assert.equal(await server.kill("SIGTERM"), 0);
    const warning = /warn {2}every user of this machine can read the private key: run chmod o= /;
    assert.equal(warning.test(server.output()), mode === 0o644, server.output());
  }
});

test("names a connection that is HTTP without TLS", async () => {
  const server = run(["--tls-cert", certFile, "--tls-key", keyFile]);
  const port = await server.port();
  await assert.rejects(fetch(`http://127.0.0.1:${port}/health`));
  const expected = /warn {2}rejected a connection that is HTTP, not TLS advice="use https/;
  await eventually(() => expected.test(server.output()));
  assert.equal(await server.kill("SIGTERM"), 0);
});

function post(port: number, path: string, body: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = https.request(
      {
        host: "127.0.0.1",
        port,
        path,
        method: "POST",
        ca: cert,
        headers: { Authorization: `Bearer ${SECRET}` },
      },
      (response) => {
        let text = "";
        response
          .setEncoding("utf8")
          .on("data", (chunk: string) => (text += chunk))
          .on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    outgoing.on("error", reject).end(body);
  });
}

async function connect(port: number): Promise<{ socket: WebSocket; next(): Promise<string> }> {
  const socket = new WebSocket(`wss://127.0.0.1:${port}/socket`, {
    ca: cert,
    perMessageDeflate: false,
  });
  const received: string[] = [];
  const waiting: ((message: string) => void)[] = [];
  socket.on("message", (data) => {
    const take = waiting.shift();
    if (take) take(String(data));
    else received.push(String(data));
  });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    socket,
    next: () =>
      received.length > 0
        ? Promise.resolve(received.shift()!)
        : new Promise((resolve) => waiting.push(resolve)),
  };
}

test("https and wss on one port: small and large messages, many sockets, an orderly close", async () => {
  const server = run(["--tls-cert", certFile, "--tls-key", keyFile]);
  const port = await server.port();
  assert.match(
    server.output(),
    /listening on https:\/\/127\.0\.0\.1:\d+\nWebSocket endpoint: wss:/,
  );
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(port)));
  for (const [i, { socket, next }] of clients.entries()) {
    assert.equal(
      (
        await post(
          port,
          "/connection",
          JSON.stringify({ token: `t${i}`, channel: "chat", params: {}, context: null }),
        )
      ).status,
      200,
    );
    socket.send(JSON.stringify({ type: "subscribe", token: `t${i}` }));
    assert.match(await next(), /subscribed/);
  }
  for (const size of [1, 1000, 100_000, 5_000_000]) {
    assert.deepEqual(
      await post(
        port,
        "/message",
        JSON.stringify({ channel: "chat", params: {}, data: "x".repeat(size) }),
      ),
      { status: 200, body: "OK" },
    );
    for (const { next } of clients) assert.equal(JSON.parse(await next()).data.length, size);
  }
  const closed = Promise.all(
    clients.map(({ socket }) => new Promise<number>((resolve) => socket.on("close", resolve))),
  );
  const exit = server.kill("SIGTERM");
  assert.deepEqual(new Set(await closed), new Set([1001]));
  assert.equal(await exit, 0);
});

test("peers that speak no TLS or an old version, or break off the handshake, affect nobody else", async () => {
  const server = run(["--tls-cert", certFile, "--tls-key", keyFile]);
  const port = await server.port();
  const bystander = await connect(port);
  for (const bytes of [
    "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00",
    "\x80\x00\x00",
  ]) {
    await new Promise<void>((resolve) => {
      const socket = tls.connect({
        port,
        host: "127.0.0.1",
        ca: cert,
        maxVersion: "TLSv1.1",
        minVersion: "TLSv1",
      });
      socket.on("error", () => {}).on("close", () => resolve());
      socket.end();
    });
    const { connect: connectRaw } = await import("node:net");
    await new Promise<void>((resolve) => {
      const raw = connectRaw(port, "127.0.0.1", () => raw.end(Buffer.from(bytes, "latin1")));
      raw
        .on("error", () => {})
        .on("close", () => resolve())
        .resume();
    });
  }
  bystander.socket.send('{"type":"ping"}');
  assert.equal(await bystander.next(), '{"type":"pong"}');
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("a peer that sends part of a TLS record and waits costs no CPU", async () => {
  const server = run(["--tls-cert", certFile, "--tls-key", keyFile]);
  const raw = await RawConnection.connect(await server.port());
  raw.write(Buffer.from([0x16, 3, 1]));
  assert.equal(await isSpinning(server.pid), false);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("calls an app server with a trusted certificate, and no other", async () => {
  const seen: string[] = [];
  const app = https.createServer({ cert, key: await readFile(keyFile) }, (incoming, response) => {
    seen.push(incoming.headers.authorization ?? "");
    incoming
      .resume()
      .on("end", () => response.writeHead(400).end('{ "fault": "client", "message": "heard" }'));
  });
  app.on("tlsClientError", () => {});
  const appPort = await listen(app);
  const flags = ["--tls-cert", certFile, "--tls-key", keyFile, "--server-secret", "s"];
  for (const [host, env, expected] of [
    ["127.0.0.1", {}, /"server"/],
    ["127.0.0.1", { SSL_CERT_FILE: certFile }, /heard/],
    ["localhost", { SSL_CERT_FILE: certFile }, /heard/],
  ] as const) {
    const server = run([...flags, "--server-url", `https://${host}:${appPort}/`], { env });
    const port = await server.port();
    const { socket, next } = await connect(port);
    assert.equal(
      (
        await post(
          port,
          "/connection",
          JSON.stringify({ token: "t", channel: "chat", params: {}, context: null }),
        )
      ).status,
      200,
    );
    for (let i = 0; i < 3; i++) {
      socket.send(
        JSON.stringify({ type: "send", token: "t", channel: "chat", params: {}, data: i }),
      );
      assert.match(await next(), expected);
    }
    assert.equal(await server.kill("SIGTERM"), 0);
    if (env.SSL_CERT_FILE === undefined)
      assert.match(
        server.output(),
        /a forward failed .*TLS: certificate verify failed: self.signed certificate/,
      );
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 6 }, () => "Bearer s"),
  );
});

test("sends nothing to an app server with a trusted certificate for another name", async () => {
  const folder = await newFolder();
  const { certFile: otherCert, keyFile: otherKey } = makeCertificate(
    folder,
    "DNS:example.com,DNS:127.0.0.1,IP:127.0.0.9",
  );
  let requests = 0;
  const app = https.createServer(
    { cert: await readFile(otherCert), key: await readFile(otherKey) },
    (_, response) => {
      requests++;
      response.writeHead(400).end('{ "fault": "client", "message": "heard" }');
    },
  );
  app.on("tlsClientError", () => {});
  const appPort = await listen(app);
  for (const [host, reason] of [
    ["localhost", "hostname mismatch"],
    ["127.0.0.1", "IP address mismatch"],
  ] as const) {
    const flags = ["--server-secret", "s", "--server-url", `https://${host}:${appPort}/`];
    const server = run(flags, { env: { SSL_CERT_FILE: otherCert } });
    await assertForwardFails(await server.port());
    assert.equal(await server.kill("SIGTERM"), 0);
    assert.match(
      server.output(),
      new RegExp(`a forward failed .*TLS: certificate verify failed: ${reason}`),
    );
  }
  assert.equal(requests, 0);
});

/** The client's message is not delivered, and the error blames the app server. */
async function assertForwardFails(port: number): Promise<void> {
  await registerToken(port, "t");
  const client = await TestClient.connect(port);
  await client.subscribe("t");
  client.send({ type: "send", token: "t", channel: "chat", params: {}, data: 1 });
  assert.equal((await client.next()).error.fault, "server");
}

test("sends nothing to an app server whose name is too long for TLS", async () => {
  const app = tls.createServer({ cert, key: await readFile(keyFile) }, () =>
    assert.fail("a handshake was made"),
  );
  app.on("tlsClientError", () => {});
  const appPort = await listen(app);
  // TLS has room for 255 bytes. worker/native/testing.cpp looks it up.
  const name = `${"x".repeat(256)}.long.test`;
  const flags = ["--server-secret", "s", "--server-url", `https://${name}:${appPort}/`];
  const server = run(flags, { env: { SSL_CERT_FILE: certFile } });
  await assertForwardFails(await server.port());
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.match(server.output(), /a forward failed .*TLS cannot be set up/);
});
