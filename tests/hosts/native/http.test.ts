// This host's HTTP reader: it accepts nothing that another reader could read differently.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  clientFrame,
  eventually,
  RawConnection,
  request,
  TestClient,
} from "../shared/support/sidekick.ts";
import { cleanUp, newFolder, run, SECRET } from "./support/server.ts";

after(cleanUp);

async function newConfig(limits: object): Promise<string> {
  const file = join(await newFolder(), "config.json");
  await writeFile(file, JSON.stringify(limits));
  return file;
}

const BODY = '{"resources":["r"]}';
const post = (...headers: string[]) =>
  `POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n${headers.map((it) => `${it}\r\n`).join("")}\r\n`;

test("rejects what readers understand differently, but accepts empty lines before a request", async () => {
  const server = run([]);
  const port = await server.port();
  for (const [bytes, status] of [
    [post("Content-Length: 19") + BODY, 200],
    [`\r\n\r\n${post("Content-Length: 19")}${BODY}`, 200],
    [`\r${post("Content-Length: 19")}${BODY}`, 400],
    [`\n${post("Content-Length: 19")}${BODY}`, 400],
    [post("Content-Length: 19, 19") + BODY, 400],
    [post("Content-Length: 19", "Content-Length: 19") + BODY, 400],
    [post("Content-Length:\r\n 19") + BODY, 400],
    [post("X-Note: a\r\n\tb", "Content-Length: 19") + BODY, 400],
  ] as const) {
    const raw = await RawConnection.connect(port);
    raw.write(bytes);
    assert.match(
      await raw.until("\r\n\r\n"),
      new RegExp(`^HTTP/1.1 ${status} `),
      JSON.stringify(bytes),
    );
    raw.socket.destroy();
  }
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("an empty line before a request may arrive in two parts, or after the previous request's body", async () => {
  const server = run([]);
  const raw = await RawConnection.connect(await server.port());
  raw.socket.setNoDelay(true);
  const whole = post("Content-Length: 19") + BODY;
  for (const parts of [
    ["\r", `\n${whole}`],
    ["\r\n", "\r", "\n", whole],
    [`${whole}\r`, `\n${whole}`],
  ]) {
    for (const part of parts) {
      raw.write(part);
      // so that the Sidekick reads it separately
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  await eventually(() => raw.received.toString().match(/HTTP\/1.1 200 /g)?.length === 4);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("rejects a chunk header without end, even with the right secret", async () => {
  const server = run([]);
  const raw = await RawConnection.connect(await server.port());
  raw.write(`${post("Transfer-Encoding: chunked")}5;`);
  let isAnswered = false;
  const answer = raw.until("\r\n\r\n").then((head) => {
    isAnswered = true;
    return head;
  });
  for (let i = 0; i < 1000 && !isAnswered; i++) {
    raw.write("x".repeat(10_000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(await answer, /^HTTP\/1.1 400 /);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("incomplete messages are bounded over all connections together", async () => {
  // The strangers do not answer pings, and a slow machine takes its time: no ping may be sent.
  const server = run(["--config", await newConfig({ frame_bytes_max: 16 * 1024 * 1024 })], {
    env: { SIDEKICK_TEST_PING_SECONDS: "3600" },
  });
  const port = await server.port();
  const bystander = await TestClient.connect(port);
  // The first fragment of a message, then a ping whose answer shows that the fragment was read; and
  // the last fragment.
  const begin = (ping: string) =>
    Buffer.concat([
      clientFrame(1, Buffer.alloc(16_000_000), { fin: false }),
      clientFrame(9, Buffer.from(ping)),
    ]);
  const end = clientFrame(0, Buffer.alloc(0));
  const strangers: RawConnection[] = [];
  const open = async () => {
    const stranger = await RawConnection.upgrade(port);
    strangers.push(stranger);
    stranger.write(begin("p"));
    return stranger;
  };
  for (let i = 0; i < 16; i++) await (await open()).until("p"); // 244 MiB
  const honest = await open(); // 259 MiB
  await honest.until("p");
  await strangers[0]!.ended;
  await bystander.settled();
  assert.deepEqual(
    strangers.flatMap(({ socket }, i) => (socket.closed ? [i] : [])),
    [0],
    "only the connection that has been waiting longest is dropped",
  );
  // 16 MB of zeros are not a valid message, but they are complete: there is room again
  honest.write(end);
  await honest.until("error");
  const [second, ...others] = strangers.slice(1);
  second!.write(Buffer.concat([end, begin("second")])); // a new message: now it is the youngest
  await second!.until("second");
  await (await open()).until("p");
  await (await open()).until("p");
  await others[0]!.ended;
  assert.equal(second!.socket.closed, false);
  assert.equal(await server.kill("SIGTERM"), 0);
});

/**
 * Opens this many, 64 at a time: earlier ones are idle meanwhile, and idle connections time out.
 */
async function openMany(
  count: number,
  open: () => Promise<RawConnection>,
): Promise<RawConnection[]> {
  const all: RawConnection[] = [];
  while (all.length < count)
    all.push(
      ...(await Promise.all(Array.from({ length: Math.min(64, count - all.length) }, open))),
    );
  return all;
}

/** An idle connection on which a request without the secret has been answered. */
async function newStranger(port: number): Promise<RawConnection> {
  const stranger = await RawConnection.connect(port);
  stranger.write("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
  await stranger.until("\r\n\r\n");
  return stranger;
}

test("idle strangers lock nobody out: the oldest are closed, and peers with the secret stay", async () => {
  const server = run([]);
  const port = await server.port();
  const client = await TestClient.connect(port);
  const known = await RawConnection.connect(port);
  known.write(post("Content-Length: 19") + BODY);
  await known.until("OK");
  const strangers = await openMany(4095, () => newStranger(port));
  await client.settled();
  assert.equal(
    strangers.filter(({ socket }) => socket.closed).length,
    0,
    "no connection is closed before another needs its place",
  );
  assert.equal((await request(port, "/health", undefined, { method: "GET" })).status, 200);
  await Promise.all(strangers.slice(0, 64).map(({ ended }) => ended));
  await client.settled();
  known.write(post("Content-Length: 19", "Connection: close") + BODY);
  await known.ended;
  assert.equal(known.received.toString().match(/HTTP\/1.1 200 /g)?.length, 2);
  assert.equal(strangers.filter(({ socket }) => socket.closed).length, 64);
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.match(
    server.output(),
    /warn {2}closed idle connections to accept others connections=64\n/,
  );
});

test("idle strangers lock nobody out when the open file limit is low", async () => {
  const server = run([], { before: "ulimit -n 100; " });
  const port = await server.port();
  const client = await TestClient.connect(port);
  for (let i = 0; i < 200; i++) await newStranger(port);
  await client.settled();
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.match(server.output(), /warn {2}closed idle connections to accept others/);
  assert.doesNotMatch(server.output(), /EMFILE/);
});

test("with too many requests in flight, connections wait until some have ended, and WebSockets continue", async () => {
  const server = run([]);
  const port = await server.port();
  const client = await TestClient.connect(port);
  const busy = await openMany(4096, async () => {
    const raw = await RawConnection.connect(port);
    raw.write(post("Content-Length: 19", "Expect: 100-continue"));
    await raw.until("100 Continue");
    return raw;
  });
  let isAnswered = false;
  const late = request(port, "/health", undefined, { method: "GET" }).then(({ status }) => {
    isAnswered = true;
    return status;
  });
  await eventually(() => server.output().includes("too many connections that are not WebSockets"));
  await client.settled();
  assert.equal(isAnswered, false);
  for (const { socket } of busy) socket.destroy();
  assert.equal(await late, 200);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("a low open file limit is reported at start, with sufficient values", async () => {
  const config = ["--config", await newConfig({ clients_max: 100 })];
  const appServer = ["--server-url", "http://127.0.0.1:9/", "--server-secret", "s"];
  for (const [flags, enough] of [
    [config, 4260],
    [[...config, ...appServer], 8356],
  ] as const) {
    for (const files of [enough - 1, enough]) {
      const server = run(flags, { before: `ulimit -n ${files}; ` });
      await server.port();
      assert.equal(await server.kill("SIGTERM"), 0);
      assert.equal(
        server.output().includes(`(ulimit -n 164, better ${enough}, or LimitNOFILE=)`),
        files < enough,
        server.output(),
      );
    }
  }
});
