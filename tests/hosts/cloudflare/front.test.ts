// The Worker in front of the object: what it answers itself, which hub it asks, and how it reads
// its settings.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import {
  closeEverything,
  eventually,
  post,
  RawConnection,
  registerToken,
  request,
  SECRET,
  settle,
  start,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

test("a wrong bearer token, an unknown path and an oversized body never reach the object", async () => {
  const sidekick = await start({ limits: { http_body_bytes_max: 100, auth_failure_delay_ms: 1 } });
  const { port } = sidekick;
  const status = async (...args: Parameters<typeof request>) => (await request(...args)).status;
  assert.equal(await status(port, "/message", "{}", { secret: "wrong" }), 401);
  assert.equal(await status(port, "/connection", "{}", { secret: null }), 401);
  await eventually(() => sidekick.output().includes("a request code=unauthorized status=401"));
  assert.equal(await status(port, "/health", undefined, { secret: null, method: "GET" }), 200);
  assert.equal(await status(port, "/health", undefined, { secret: null, method: "HEAD" }), 200);
  assert.equal(await status(port, "/nothing", "{}"), 404);
  assert.equal(await status(port, "/trace", undefined, { method: "GET" }), 404);
  assert.equal(await status(port, "/socket", undefined, { method: "GET" }), 426);
  assert.equal(await status(port, "/message", "x".repeat(101)), 413);
  assert.equal(
    await status(port, "/message", "x".repeat(101), {
      headers: { "Transfer-Encoding": "chunked" },
    }),
    413,
  );
  const wrongMethod = await request(port, "/message", undefined, { method: "GET" });
  assert.equal(wrongMethod.status, 405);
  assert.equal(wrongMethod.headers.allow, "POST");
  assert.equal(await sidekick.constructed(), 0);
  assert.equal(await status(port, "/message", "x".repeat(100)), 400);
  assert.equal(await sidekick.constructed(), 1);
});

test("GET /ready asks the object", async () => {
  const sidekick = await start();
  const ready = await request(sidekick.port, "/ready", undefined, { secret: null, method: "GET" });
  assert.equal(ready.status, 200);
  assert.deepEqual(JSON.parse(ready.body), { status: "ok" });
  assert.equal(await sidekick.constructed(), 1);
});

test("ignores an upgrade to another protocol", async () => {
  const { port } = await start();
  const upgrade = { Connection: "Upgrade", Upgrade: "websocket" };
  assert.equal(
    (await request(port, "/health", undefined, { method: "GET", headers: upgrade })).status,
    200,
  );
});

test("accepts the previous secret during a rotation", async () => {
  const { port } = await start({ env: { SIDEKICK_SECRET_PREVIOUS: "old" } });
  for (const secret of [SECRET, "old"])
    assert.equal((await request(port, "/resources", '{"resources":[]}', { secret })).status, 200);
});

test("only pages of the listed origins may open a socket; origins are compared exactly", async () => {
  const { port } = await start({
    env: { SIDEKICK_ALLOWED_ORIGINS: "https://app.example.com, https://b.example.com:8443" },
  });
  for (const Origin of ["https://app.example.com", "https://b.example.com:8443"])
    await (await TestClient.connect(port, { Origin })).close();
  for (const Origin of [
    "https://evil.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://b.example.com",
    "https://app.example.com.evil.com",
    "https://evil.com/https://app.example.com",
    "https://xapp.example.com",
    "https://app.example.co",
    "app.example.com",
    "null",
    "*",
    "https://app.example.com, https://b.example.com:8443",
  ]) {
    await assert.rejects(TestClient.connect(port, { Origin }), /403/, Origin);
  }
  await assert.rejects(TestClient.connect(port), /403/);
});

test("never negotiates compression: a small frame could expand past the size check", async () => {
  const { port } = await start();
  const raw = await RawConnection.connect(port);
  raw.write(
    "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: " +
      "permessage-deflate; client_max_window_bits\r\n\r\n",
  );
  const head = await raw.until("\r\n\r\n");
  assert.match(head, /^HTTP\/1\.1 101 /);
  assert.doesNotMatch(head, /Sec-WebSocket-Extensions/i);
});

test("several hubs of one deployment in one isolate do not see each other", async () => {
  const hub = (secret: string) => ({ secret, limits: { auth_failure_delay_ms: 0 } });
  const sidekick = await start({
    env: {
      SIDEKICK_HUBS: JSON.stringify({ "a.example.com": hub("a"), "b.example.com": hub("b") }),
    },
  });
  const { port } = sidekick;
  const at = (name: string) => ({ headers: { Host: `${name}.example.com` }, secret: name });
  const registered = { token: "the-same-token-in-both", channel: "chat", params: {} };
  const clients: TestClient[] = [];
  for (const name of ["a", "b"]) {
    const client = await TestClient.connect(port, at(name).headers);
    clients.push(client);
    assert.equal(
      (await request(port, "/connection", JSON.stringify(registered), at(name))).status,
      200,
    );
    await client.subscribe(registered.token);
    client.send({ type: "listen", resources: ["todo/1"] });
    await client.next();
  }
  await sidekick.evict("hibernate", "b.example.com");
  await request(
    port,
    "/message",
    JSON.stringify({ channel: "chat", params: {}, data: "for a" }),
    at("a"),
  );
  await request(port, "/resources", '{"resources":["todo/1"]}', at("a"));
  assert.equal((await settle(clients[0]!)).length, 2);
  assert.deepEqual(await settle(clients[1]!), []);
  assert.equal(
    (await request(port, "/resources", '{"resources":[]}', { ...at("a"), secret: "b" })).status,
    401,
  );
  assert.equal(
    (
      await request(port, "/health", undefined, {
        method: "GET",
        headers: { Host: "c.example.com" },
      })
    ).status,
    404,
  );
});

test("hostnames match whatever their case", async () => {
  const settings = { secret: SECRET, limits: { auth_failure_delay_ms: 0 } };
  const sidekick = await start({
    env: { SIDEKICK_HUBS: JSON.stringify({ "Chat.Example.COM": settings }) },
  });
  await registerTokenAt(sidekick.port, "chat.example.com", "token-registered-in-lower-case");
  const client = await TestClient.connect(sidekick.port, { Host: "CHAT.example.com" });
  await client.subscribe("token-registered-in-lower-case");
  await sidekick.evict("hibernate", "chat.example.com");
  await post(
    sidekick.port,
    "/message",
    { channel: "chat", params: {}, data: 1 },
    { Host: "Chat.Example.COM" },
  );
  assert.equal((await settle(client)).length, 1);
});

// --- wrong settings ---

const registerTokenAt = async (port: number, Host: string, token: string) =>
  assert.equal(
    (await post(port, "/connection", { token, channel: "chat", params: {} }, { Host })).status,
    200,
  );

for (const [what, env, expected] of [
  ["no secret", { SIDEKICK_SECRET: "" }, /SIDEKICK_SECRET: a secret is required/],
  ["an unknown limit", { SIDEKICK_LIMITS: '{"frame_bytes_maximum": 7}' }, /frame_bytes_maximum/],
  ["a limit out of range", { SIDEKICK_LIMITS: '{"clients_max": -1}' }, /clients_max/],
  [
    "limits that are not JSON",
    { SIDEKICK_LIMITS: "{ private-limits" },
    /SIDEKICK_LIMITS: expected a JSON object/,
  ],
  [
    "a server URL with a password",
    { SIDEKICK_SERVER_URL: "https://ann:private-password@private.example.com/" },
    /SIDEKICK_SERVER_URL: a user name or password/,
  ],
  [
    "an invalid server URL",
    { SIDEKICK_SERVER_URL: "private.example.com/api" },
    /SIDEKICK_SERVER_URL: expected a URL like/,
  ],
  [
    "a server URL with another scheme",
    { SIDEKICK_SERVER_URL: "ftp://private.example.com/" },
    /SIDEKICK_SERVER_URL: expected a URL like/,
  ],
  [
    "an origin with a path",
    { SIDEKICK_ALLOWED_ORIGINS: "https://app.example.com/" },
    /"allowed_origins" must contain origins as browsers send them/,
  ],
  [
    "a list without origins",
    { SIDEKICK_ALLOWED_ORIGINS: " , " },
    /"allowed_origins" must be an array of 1 to/,
  ],
  [
    "hubs that are not JSON",
    { SIDEKICK_HUBS: '{ "127.0.0.1": { "secret": "private-secret"' },
    /SIDEKICK_HUBS: expected a JSON object/,
  ],
  [
    "a hub that is not an object",
    { SIDEKICK_HUBS: '{ "127.0.0.1": "private-secret" }' },
    /SIDEKICK_HUBS, 127\.0\.0\.1: expected a JSON object/,
  ],
  [
    "a hub with a wrong URL",
    {
      SIDEKICK_HUBS:
        '{ "127.0.0.1": { "secret": "private-secret", "server_url": "private.example.com" } }',
    },
    /127\.0\.0\.1: server_url: expected/,
  ],
  [
    "a repeated hostname",
    {
      SIDEKICK_HUBS:
        '{ "a.com": { "secret": "private-secret" }, "A.com": { "secret": "private-secret" } }',
    },
    /"a\.com" is listed twice/,
  ],
  [
    "trace bytes that are not a number",
    { SIDEKICK_TRACE_BYTES: "many" },
    /SIDEKICK_TRACE_BYTES: expected a number of bytes, got "many"/,
  ],
  [
    "gateways without shards",
    { SIDEKICK_GATEWAYS: "2" },
    /SIDEKICK_SHARDS: expected a number from 1 to 256, since SIDEKICK_GATEWAYS is set/,
  ],
  [
    "shards without gateways",
    { SIDEKICK_SHARDS: "2" },
    /SIDEKICK_GATEWAYS: expected a number from 1 to 256, since SIDEKICK_SHARDS is set/,
  ],
  [
    "no gateway",
    { SIDEKICK_GATEWAYS: "0", SIDEKICK_SHARDS: "2" },
    /SIDEKICK_GATEWAYS: expected a number from 1 to 256, got "0"/,
  ],
  [
    "too many shards",
    { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "257" },
    /SIDEKICK_SHARDS: expected a number from 1 to 256, got "257"/,
  ],
  [
    "shards that are not a number",
    { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "some" },
    /SIDEKICK_SHARDS: expected a number from 1 to 256, got "some"/,
  ],
  [
    "a hub with gateways and no shards",
    { SIDEKICK_HUBS: '{ "127.0.0.1": { "secret": "private-secret", "gateways": 2 } }' },
    /SIDEKICK_HUBS, 127\.0\.0\.1: shards: expected a number from 1 to 256, since/,
  ],
  [
    "a location that Cloudflare does not know",
    { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1", SIDEKICK_LOCATIONS: "weur, mars" },
    /SIDEKICK_LOCATIONS: expected location hints of Cloudflare, .* got "mars"/,
  ],
  [
    "messages that no shard can deliver",
    {
      SIDEKICK_GATEWAYS: "1",
      SIDEKICK_SHARDS: "1",
      SIDEKICK_LIMITS: '{ "engine_message_bytes_max": 8388609 }',
    },
    new RegExp(
      "SIDEKICK_LIMITS: expected an engine_message_bytes_max of at most 8388608 bytes, " +
        "which a shard can deliver, got 8388609",
    ),
  ],
  [
    "locations without gateways",
    { SIDEKICK_LOCATIONS: "weur" },
    /SIDEKICK_LOCATIONS: requires SIDEKICK_GATEWAYS and SIDEKICK_SHARDS/,
  ],
] as [string, Record<string, string>, RegExp][]) {
  test(`${what}: the log names the wrong setting, strangers learn nothing, and no secret or URL is printed`, async () => {
    const sidekick = await start({
      env: {
        SIDEKICK_SECRET: "private-secret",
        SIDEKICK_SERVER_SECRET: "private-server-secret",
        ...env,
      },
    });
    const { port } = sidekick;
    const answers = await Promise.all([
      request(port, "/health", undefined, { method: "GET" }),
      request(port, "/message", "{}", { secret: "private-secret" }),
      request(port, "/socket", undefined, { method: "GET" }),
    ]);
    for (const { status, body } of answers)
      assert.equal(
        `${status} ${body}`,
        "500 This Sidekick is not configured; its log names the missing setting",
      );
    await assert.rejects(TestClient.connect(port), /500/);
    await eventually(() => expected.test(sidekick.output()));
    assert.doesNotMatch(sidekick.output(), /private/);
    assert.equal(await sidekick.constructed(), 0);
  });
}

test("a wrong setting loses no tokens, even if an alarm fires meanwhile: they are valid again once it is fixed", async () => {
  const storage = mkdtempSync(join(tmpdir(), "sidekick-storage-"));
  try {
    const first = await start({ storage });
    await registerToken(first.port, "token-from-before", "chat", {}, "of ann");
    await first.stop();

    const wrong = await start({ storage, env: { SIDEKICK_LIMITS: '{"clients_max": -1}' } });
    assert.equal((await request(wrong.port, "/health", undefined, { method: "GET" })).status, 500);
    await wrong.test("alarm");
    assert.equal(await wrong.rows("token"), 1);
    await wrong.stop();

    const right = await start({ storage });
    const client = await TestClient.connect(right.port);
    await client.subscribe("token-from-before");
  } finally {
    await stopAll();
    rmSync(storage, { recursive: true });
  }
});
