// The same bytes to every host: each must give the same status and headers. What a platform forces
// is in FORCED, with its reason. The host is the one that SIDEKICK_COMMAND starts.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { gateways, hostName } from "./support/command.ts";
import { closeEverything } from "./support/left-open.ts";
import type { TestSidekick } from "./support/sidekick.ts";
import {
  eventually,
  RawConnection,
  SECRET,
  startTestSidekick,
  TestClient,
} from "./support/sidekick.ts";

interface Parts {
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  /** Replaces the header lines with these names, or removes them (""). */
  readonly change?: Readonly<Record<string, string>>;
  readonly add?: readonly string[];
  readonly body?: string;
}

const UPGRADE = {
  Host: "x",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};
const PLAIN = { Host: "x" };
const POST = { Host: "x", Authorization: `Bearer ${SECRET}` };
const H2C = { Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAMAAABk" };

function bytes(headers: Readonly<Record<string, string>>, parts: Parts): string {
  const { method = "GET", target = "/socket", version = "1.1", add = [], body = "" } = parts;
  const lines = Object.entries({ ...headers, ...parts.change })
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${target} HTTP/${version}`, ...lines, ...add, "", body].join("\r\n");
}
const upgrade = (parts: Parts = {}) => bytes(UPGRADE, parts);
const offers = (...values: string[]) =>
  upgrade({ add: values.map((value) => `Sec-WebSocket-Protocol: ${value}`) });
const plain = (parts: Parts) => bytes(PLAIN, parts);
const post = (parts: Parts) =>
  bytes(POST, { method: "POST", target: "/resources", body: '{"resources":[]}', ...parts });
const LENGTH = "Content-Length: 16";
const CHUNKED_BODY = '10\r\n{"resources":[]}\r\n0\r\n\r\n';

/** A name, the bytes, and the expected status, with other expected parts of the answer. */
const REQUESTS: readonly (readonly [what: string, bytes: string, expected: string])[] = [
  ["an upgrade", upgrade(), "101"],
  ["subprotocol: one", offers("chat"), "101 chat"],
  ["subprotocol: two", offers("chat, v2"), "101 chat"],
  ["subprotocol: in two lines", offers("a", "b"), "101 a"],
  ["subprotocol: repeated", offers("a, a"), "101 a"],
  ["subprotocol: empty", offers(""), "101"],
  ["subprotocol: empty element at the end", offers("gabbo, "), "101 gabbo"],
  ["subprotocol: empty element at the start", offers(",a"), "101 a"],
  ["subprotocol: not a token", offers("a/b"), "400"],
  ["version: none", upgrade({ change: { "Sec-WebSocket-Version": "" } }), "426 13"],
  ["version: 8", upgrade({ change: { "Sec-WebSocket-Version": "8" } }), "426 13"],
  ["version: 013", upgrade({ change: { "Sec-WebSocket-Version": "013" } }), "426 13"],
  ["version: twice", upgrade({ add: ["Sec-WebSocket-Version: 13"] }), "426 13"],
  ["key: none", upgrade({ change: { "Sec-WebSocket-Key": "" } }), "400"],
  ["key: too short", upgrade({ change: { "Sec-WebSocket-Key": "dGhlIHNhbXBsZQ==" } }), "400"],
  [
    "key: not Base64",
    upgrade({ change: { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j_Q==" } }),
    "400",
  ],
  ["key: twice", upgrade({ add: ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] }), "400"],
  ["Connection: none", upgrade({ change: { Connection: "" } }), "426 websocket"],
  ["Connection: keep-alive", upgrade({ change: { Connection: "keep-alive" } }), "426 websocket"],
  ["Connection: a list", upgrade({ change: { Connection: "keep-alive, upgrade" } }), "101"],
  ["Upgrade: in capitals", upgrade({ change: { Upgrade: "WebSocket" } }), "101"],
  ["Upgrade: a list", upgrade({ change: { Upgrade: "h2c, websocket" } }), "101"],
  ["Upgrade: h2c", upgrade({ change: { Upgrade: "h2c" } }), "426 websocket"],
  ["Upgrade: none", upgrade({ change: { Upgrade: "" } }), "426 websocket"],
  ["an upgrade of HTTP/1.0", upgrade({ version: "1.0" }), "426 websocket"],
  ["Host: none", upgrade({ change: { Host: "" } }), "400"],
  ["Host: twice", upgrade({ add: ["Host: x"] }), "400"],
  ["method: POST", upgrade({ method: "POST", add: ["Content-Length: 0"] }), "405 GET"],
  ["body: of length 0", upgrade({ add: ["Content-Length: 0"] }), "101"],
  ["body: of length 5", upgrade({ add: ["Content-Length: 5"], body: "hello" }), "400"],
  ["body: chunked", upgrade({ add: ["Transfer-Encoding: chunked"], body: "0\r\n\r\n" }), "400"],
  ["target: with a query", upgrade({ target: "/socket?a=b" }), "101"],
  ["target: http://", upgrade({ target: "http://x/socket" }), "101"],
  ["target: HTTP://", upgrade({ target: "HTTP://x/socket" }), "101"],
  ["target: ws://", upgrade({ target: "ws://x/socket" }), "101"],
  ["target: wss://", upgrade({ target: "wss://x/socket" }), "101"],
  ["target: ftp://", upgrade({ target: "ftp://x/socket" }), "404"],
  ["target: another path", upgrade({ target: "/sockets" }), "404"],
  ["target: a slash at the end", upgrade({ target: "/socket/" }), "404"],
  ["target: dots", upgrade({ target: "/x/../socket" }), "404"],
  ["target: HTTP:// of a plain request", plain({ target: "HTTP://x/health" }), "200"],
  ["target: *", plain({ method: "OPTIONS", target: "*" }), "404"],
  ["an upgrade of another path", upgrade({ target: "/health" }), "200"],
  ["Host: none, of a plain request", plain({ target: "/health", change: { Host: "" } }), "400"],
  ["Host: twice, of a plain request", plain({ target: "/health", add: ["Host: x"] }), "400"],
  ["Expect: another than 100-continue", plain({ target: "/health", add: ["Expect: x"] }), "417"],
  ["HEAD", plain({ method: "HEAD", target: "/health" }), "200"],
  ["GET /ready", plain({ target: "/ready" }), "200"],
  ["HEAD /ready", plain({ method: "HEAD", target: "/ready" }), "200"],
  [
    "a method that /ready does not allow",
    plain({ method: "PUT", target: "/ready" }),
    "405 GET, HEAD",
  ],
  ["a method that is not allowed", plain({ target: "/resources" }), "405 POST"],
  [
    "HTTP/1.0 without Host",
    plain({ target: "/health", version: "1.0", change: { Host: "" } }),
    "200",
  ],
  ["a POST that offers h2c", post({ change: H2C, add: [LENGTH] }), "200"],
  [
    "a chunked POST that offers h2c",
    post({ change: H2C, add: ["Transfer-Encoding: chunked"], body: CHUNKED_BODY }),
    "200",
  ],
  [
    "a POST that offers a WebSocket",
    post({ change: { Connection: "Upgrade", Upgrade: "websocket" }, add: [LENGTH] }),
    "200",
  ],
  [
    "a POST that offers h2c, with a wrong secret",
    post({ change: { ...H2C, Authorization: "Bearer wrong" }, add: [LENGTH] }),
    "401 Bearer",
  ],
  ["no HTTP", "what is this\r\n\r\n", "400"],
  ["TLS", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "400"],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"],
  [
    "20,000 bytes of headers",
    plain({ target: "/health", add: [`X-A: ${"x".repeat(20_000)}`] }),
    "431",
  ],
  ["a chunk without a size", post({ add: ["Transfer-Encoding: chunked"], body: "x\r\n" }), "400"],
  ["two lengths", post({ add: [LENGTH, "Content-Length: 17"] }), "400"],
];

/** With `allowed_origins` https://app.example.com, https://*.example.org:8443 and null. */
const ORIGINS = ["https://app.example.com", "https://*.example.org:8443", "tauri://localhost"];
const OF_ORIGINS: readonly (readonly [origin: string, expected: string])[] = [
  ["https://app.example.com", "101"],
  ["https://APP.example.com", "101"],
  ["https://a.example.org:8443", "101"],
  ["https://a.b.example.org:8443", "101"],
  ["tauri://localhost", "101"],
  ["https://example.org:8443", "403"],
  ["https://a.example.org", "403"],
  ["https://aexample.org:8443", "403"],
  ["http://app.example.com", "403"],
  ["https://app.example.com.evil.com", "403"],
  ["https://app.example.com:8443", "403"],
  ["https://app.example.com, https://app.example.com", "403"],
  ["https://evil.com\r\nOrigin: https://app.example.com", "403"],
  ["null", "403"],
  ["", "403"],
];

const BUN_TARGETS = "Bun takes paths and http URLs only";
const NO_UPGRADE_HEADER = "workerd sends no Upgrade header except with 101";

/** The platform's own decisions, which come before the hub's. */
const FORCED: Readonly<Record<string, Readonly<Record<string, readonly [string, string]>>>> = {
  bun: {
    "target: ws://": ["400", BUN_TARGETS],
    "target: wss://": ["400", BUN_TARGETS],
    "target: ftp://": ["400", BUN_TARGETS],
    "target: *": ["400", BUN_TARGETS],
  },
  worker: {
    "Upgrade: a list": ["426", "workerd accepts a socket only if the header says websocket alone"],
    "Upgrade: h2c": ["426", NO_UPGRADE_HEADER],
    "Upgrade: none": ["426", NO_UPGRADE_HEADER],
    "Connection: none": ["426", NO_UPGRADE_HEADER],
    "Connection: keep-alive": ["426", NO_UPGRADE_HEADER],
    "an upgrade of HTTP/1.0": ["101", "workerd does not tell the version of a request"],
    "target: ftp://": ["101", "workerd gives every request the scheme http"],
    "target: dots": ["101", "workerd resolves the path as URLs are"],
    "HTTP/1.0 without Host": ["400", "workerd needs a Host header"],
    "Expect: another than 100-continue": ["200", "workerd ignores it"],
    "HTTP/2": ["closed", "workerd takes its first line for an HTTP/2 client's and closes"],
    "20,000 bytes of headers": ["200", "workerd takes more"],
  },
};

after(closeEverything);

let open: TestSidekick;
let strict: TestSidekick;
before(async () => {
  open = await startTestSidekick();
  strict = await startTestSidekick({ config: { allowed_origins: ORIGINS, clients_max: 1 } });
});

async function answerTo({ port }: TestSidekick, sent: string): Promise<string> {
  const raw = await RawConnection.connect(port);
  raw.write(Buffer.from(sent, "latin1"));
  const answered = await raw.until("\r\n\r\n").catch(() => "closed");
  const [head = ""] = answered.split("\r\n\r\n");
  const status = /^HTTP\/1\.[01] (\d+)/.exec(head)?.[1] ?? head;
  // Says what was expected, or a name at least.
  if (/^[45]/.test(status)) await eventually(() => /\r\n\r\n.*\w/s.test(raw.received.toString()));
  raw.socket.destroy();
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1];
  const said =
    status === "101"
      ? [header("sec-websocket-protocol")]
      : status === "426"
        ? [header("sec-websocket-version") ?? header("upgrade")]
        : [header("allow"), header("www-authenticate")];
  return [status, ...said.filter((value) => value !== undefined)].join(" ");
}

for (const [what, sent, expected] of REQUESTS) {
  const [forced] = FORCED[hostName]?.[what] ?? [];
  test(`${what}: ${forced ?? expected}`, async () => {
    assert.equal(await answerTo(open, sent), forced ?? expected);
  });
}

test("allowed_origins: only pages of these origins may open a socket", async () => {
  for (const [origin, expected] of OF_ORIGINS) {
    const add = origin === "" ? [] : [`Origin: ${origin}`];
    // One client at a time: the socket before may not be gone yet.
    let got = await answerTo(strict, upgrade({ add }));
    while (got === "503") got = await answerTo(strict, upgrade({ add }));
    assert.equal(got, expected, origin);
  }
});

test("over clients_max: 503, and accepted again after another has left", async () => {
  const headers = { Origin: ORIGINS[0]! };
  const connect = async (): Promise<TestClient> => {
    try {
      return await TestClient.connect(strict.port, headers);
    } catch (error) {
      assert.match(String(error), /503/);
      return connect();
    }
  };
  // With up to three gateways the Worker asks each of them.
  const clients: TestClient[] = [];
  while (clients.length < gateways) clients.push(await connect());
  const raw = await RawConnection.connect(strict.port);
  raw.write(upgrade({ add: [`Origin: ${ORIGINS[0]}`] }));
  assert.match(await raw.until("clients_max"), /^HTTP\/1\.1 503 /);
  for (const client of clients) await client.settled();
  await clients[0]!.close();
  await (await connect()).settled();
});

test("the body after an unwanted upgrade is read, and the connection stays open", async () => {
  const raw = await RawConnection.connect(open.port);
  const one = post({ change: H2C, add: [LENGTH] });
  raw.write(one);
  await raw.until("OK");
  // These give the connection up with their upgrade event.
  if (hostName === "bun" || hostName === "deno") return raw.ended;
  for (const part of [one.slice(0, 20), one.slice(20, -8), one.slice(-8)]) {
    raw.write(part);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const answers = () => raw.received.toString().match(/HTTP\/1\.1 200 /g)?.length;
  // More often than Node wants listeners to be added: it would warn.
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  for (let count = 3; count < 20; count++) {
    raw.write(one);
    await eventually(() => answers() === count);
  }
  process.off("warning", onWarning);
  assert.deepEqual(warnings, []);
  raw.write(upgrade());
  await raw.until("101 Switching");
  raw.socket.destroy();
});

test("bytes that are no request are answered after the requests before them", async () => {
  const health = plain({ target: "/health" });
  for (const [requests, statuses] of [
    [[health, "what is this\r\n\r\n"], "200,400"],
    [[health, post({ add: ["Transfer-Encoding: chunked"], body: "x\r\n" })], "200,400"],
    [[health, health, plain({ target: "/health", change: { Host: "" } })], "200,200,400"],
    // A wrong secret ends the connection, except in workerd: one guess per connection.
    [
      [post({ add: [LENGTH], change: { Authorization: "" } }), "what is this\r\n\r\n"],
      hostName === "worker" ? "401,400" : "401",
    ],
  ] as const) {
    const raw = await RawConnection.connect(open.port);
    raw.write(requests.join(""));
    await raw.ended;
    const received = raw.received.toString();
    assert.equal(received.match(/(?<=HTTP\/1\.1 )\d+/g)?.join(), statuses, received);
  }
});

test("a client that closes its sending side gets its answers", async () => {
  const slow = await startTestSidekick({ config: { auth_failure_delay_ms: 50 } });
  for (const [sent, status] of [
    [plain({ target: "/health" }).repeat(3), "200,200,200"],
    [post({ add: [LENGTH] }), "200"],
    [post({ add: [LENGTH], change: { Authorization: "" } }), "401"],
  ] as const) {
    const raw = await RawConnection.connect(slow.port, { allowHalfOpen: true });
    raw.socket.end(sent);
    await raw.ended;
    assert.equal(
      raw.received
        .toString()
        .match(/(?<=HTTP\/1\.1 )\d+/g)
        ?.join(),
      status,
    );
  }
  await slow.close();
});

test("upgrades pipelined after other requests are answered in order", async () => {
  const raw = await RawConnection.connect(open.port);
  const health = plain({ target: "/health" });
  raw.write(health + health + upgrade());
  const received = await raw.until("101 Switching");
  assert.deepEqual(received.match(/HTTP\/1\.1 \d+/g), [
    "HTTP/1.1 200",
    "HTTP/1.1 200",
    "HTTP/1.1 101",
  ]);
  raw.socket.destroy();
});
