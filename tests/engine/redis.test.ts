// The Node host's pipe to an engine, on a real redis-server: what it promises the core, and what it
// does when the server refuses, stops or closes a connection. redis_test.cpp has the same cases for
// the native server.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEngineUrl } from "../../worker/src/engine/engine-url.ts";
import { Redis } from "../../worker/src/engine/redis.ts";
import { loadDecoder } from "../../worker/src/engine/redis-package.ts";
import { readScripts } from "../../worker/src/engine/scripts.ts";
import { createLog } from "../../worker/src/node/log.ts";
import { atEnd, closeEverything } from "../hosts/shared/support/left-open.ts";
import { eventually } from "../hosts/shared/support/sidekick.ts";
import { startProxy } from "./support/proxy.ts";
import { type RedisServer, startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);

const decoder = await loadDecoder();
const NODE = "0123456789abcdef";

interface Settings {
  readonly user?: string;
  readonly timeoutMs?: number;
  readonly prefix?: string;
}

/** Writes down what the engine says, one line each. */
function node(
  server: RedisServer,
  { user = "", timeoutMs = 5000, prefix = "test" }: Settings = {},
) {
  const lines: string[] = [];
  const logged: string[] = [];
  const redis = new Redis(
    {
      url: parseEngineUrl("--engine", `redis://${user}127.0.0.1:${server.port}/3`),
      ca: undefined,
      decoder,
      prefix: `${prefix}:1:3:`,
      node: NODE,
      scripts: readScripts(),
      timeoutMs,
      leaseMs: 10_000,
      messageBytesMax: 4096,
    },
    {
      onEngineUp: () => lines.push("up"),
      onEngineDown: () => {
        lines.push("down");
        it.onDown();
      },
      onEngineAnswer: (call, status, values) =>
        lines.push(["answer", call, status, ...values.map(text)].join(" ")),
      onEngineMessage: (topic, body) => lines.push(`message '${text(topic)}' ${text(body)}`),
    },
    createLog("info", (line) => logged.push(line)),
  );
  redis.start();
  atEnd(() => redis.end());
  const it = {
    redis,
    onDown: () => {},
    /** The lines so far. */
    lines,
    /** Waits for a line that begins so, and returns it; forgets those before it. */
    async next(start: string): Promise<string> {
      const find = () => lines.findIndex((line) => line.startsWith(start));
      await eventually(
        () => find() >= 0,
        () => `${start} in\n${lines.join("\n")}\n${logged.join("")}`,
      );
      lines.splice(0, find());
      return lines.shift()!;
    },
    /** Waits for a line of the log. */
    logs: (pattern: RegExp) =>
      eventually(
        () => logged.some((line) => pattern.test(line)),
        () => `${pattern} in\n${logged.join("")}`,
      ),
    logged,
    run: (call: number, script: string, ...args: string[]) =>
      redis.run(call, script, args.map(bytes)),
    join: (call: number, ...topics: string[]) => redis.join(call, topics.map(bytes)),
    leave: (...topics: string[]) => redis.leave(topics.map(bytes)),
  };
  return it;
}

/** latin1: all bytes. */
const text = (value: Uint8Array) => Buffer.from(value).toString("latin1");
const bytes = (value: string) => Buffer.from(value, "latin1");

test("is up after a write has come back, and sends a heartbeat each second", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  assert.equal(await server.says("-n", "3", "get", `test:1:3:n:${NODE}`), "1");
  assert.match(await it.next("message ''"), /^message '' beat 2 1 /);
  assert.match(await it.next("message ''"), /^message '' beat 3 1 /);
});

test("answers runs with their values, in order", async () => {
  const it = node(await startRedis());
  await it.next("up");
  it.run(1, "sync", NODE, "e1", "", "", "0");
  it.run(2, "register", "T", "the record", "60000");
  it.run(3, "claim", "T", NODE, "s", "60000");
  it.run(4, "claim", "U", NODE, "s", "60000");
  assert.match(await it.next("answer"), /^answer 1 0 e1 /);
  assert.equal(await it.next("answer"), "answer 2 0 ok");
  assert.match(await it.next("answer"), /^answer 3 0 ok the record /);
  assert.equal(await it.next("answer"), "answer 4 0 none");
});

test("answers a join once later messages will arrive; joins and leaves keep order", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  const odd = "o\0d d\xff";
  it.join(7, "a", odd, "b");
  assert.equal(await it.next("answer"), "answer 7 0");
  it.run(8, "update", "1000", "a", odd);
  assert.match(await it.next("message 'a'"), /^message 'a' 1/);
  const expected = `message '${odd}' 1`;
  assert.equal((await it.next("message 'o")).slice(0, expected.length), expected);
  it.leave("a");
  it.join(9, "a");
  it.leave("b");
  it.join(10, "c");
  await it.next("answer 9 0");
  await it.next("answer 10 0");
  assert.equal(await server.says("publish", "test:1:3:c:a", "x"), "1");
  assert.equal(await server.says("publish", "test:1:3:c:b", "x"), "0");
  assert.equal(await it.next("message 'a'"), "message 'a' x");
});

test("passes on messages to the inbox with an empty topic", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  await server.says("publish", `test:1:3:i:${NODE}`, "asked s T");
  assert.equal(await it.next("message '' asked"), "message '' asked s T");
});

test("drops a message that is longer than any that a node publishes", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  it.join(1, "a");
  await it.next("answer 1 0");
  const longest = "x".repeat(4096 + 1024);
  for (const body of [`${longest}x`, longest]) await server.says("publish", "test:1:3:c:a", body);
  assert.equal(await it.next("message 'a'"), `message 'a' ${longest}`);
});

test("answers a refused call with status 1 and the reason, and stays up", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  await server.says("config", "set", "maxmemory", "1");
  it.run(1, "update", "1000", "a");
  it.run(2, "release", NODE, "1000", "T", "s");
  assert.match(await it.next("answer"), /^answer 1 1 OOM /);
  assert.equal(await it.next("answer"), "answer 2 0");
  it.run(3, "update");
  assert.match(await it.next("answer"), /^answer 3 1 /);
});

test("loses both connections if either ends, and reconnects", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  for (const type of ["normal", "pubsub"]) {
    it.join(1, "a");
    await it.next("answer 1 0");
    await server.says("client", "kill", "type", type, "skipme", "yes");
    await it.next("down");
    await it.next("up");
    assert.equal(await server.says("publish", "test:1:3:c:a", "x"), "0");
  }
});

test("answers nothing after the engine went down", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  it.onDown = () => {
    it.run(2, "update", "1000", "a");
    it.join(3, "a");
  };
  it.run(1, "update", "1000", "a");
  await server.says("client", "kill", "type", "normal", "skipme", "yes");
  await it.next("down");
  await it.next("up");
  it.run(4, "update", "1000", "a");
  assert.match(await it.next("answer"), /^answer 4 0 /);
});

test("goes down if a script is missing, a command is forbidden or the primary is demoted", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  await server.says("script", "flush");
  await it.next("down");
  await it.next("up");
  await server.says("acl", "setuser", "default", "-subscribe");
  it.join(1, "a");
  await it.next("down");
  await it.logs(
    /code="acl" reason="NOPERM: the ACL of the user forbids it to run the 'subscribe' /,
  );
  await server.says("acl", "setuser", "default", "+subscribe");
  await it.next("up");
  await server.says("replicaof", "127.0.0.1", "1");
  await it.next("down");
  await it.logs(
    /unavailable.* code="replica" reason="expected a primary, got a replica of 127\.0\.0/,
  );
  await server.says("replicaof", "no", "one");
  await it.next("up");
});

test("goes down if the server stops, and up once it continues", async () => {
  const server = await startRedis();
  const it = node(server, { timeoutMs: 1500 });
  await it.next("up");
  server.process.kill("SIGSTOP");
  it.run(1, "update", "1000", "a");
  await it.next("down");
  assert.deepEqual(it.lines, []);
  server.process.kill("SIGCONT");
  await it.next("up");
});

test("loses both connections if one of them freezes", async () => {
  const server = await startRedis();
  const proxy = await startProxy(server.port);
  const it = node({ ...server, port: proxy.port }, { timeoutMs: 1500 });
  await it.next("up");
  for (const type of ["normal", "pubsub"]) {
    proxy.freeze(await server.says("client", "list", "type", type));
    await it.next("down");
    await it.logs(/the engine is down.* code="timeout" reason="no answer for 1500 ms/);
    await it.next("up");
  }
});

test("stays up if this process itself was paused for too long", async () => {
  const server = await startRedis();
  const it = node(server, { timeoutMs: 2500 });
  await it.next("up");
  server.process.kill("SIGSTOP");
  await sleep(1300); // a heartbeat waits for its return
  server.process.kill("SIGCONT");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000);
  await it.next("message '' beat 2");
  assert.match(await it.next(""), /^message '' beat 3 /);
});

test("connects with user and password", async () => {
  const server = await startRedis("--requirepass", "p:w@1");
  await node(server, { user: ":p%3Aw%401@" }).next("up");
  const user = ["on", ">pw", "~test:*", "&test:*", ...ALLOWED];
  await server.says("-a", "p:w@1", "acl", "setuser", "sidekick", ...user);
  const it = node(server, { user: "sidekick:pw@" });
  await it.next("up");
  it.join(1, "a");
  it.run(2, "message", "a", "hi", "1000", "10", "60000");
  await it.next("message 'a'");
});

/** The permissions that docs/scale.md names, besides keys and channels. */
const ALLOWED = (
  "+@connection +@hash +@sortedset +@stream +subscribe +unsubscribe +publish +evalsha " +
  "+script|load +info +time +exists +del +set +pexpire"
).split(" ");

test("names a server that it cannot use in the log, and no password", async () => {
  const guarded = await startRedis("--requirepass", "right-password");
  const it = node(guarded, { user: ":wrong-password@" });
  await it.logs(/unavailable.* code="password" reason="wrong user or password"/);
  await node(guarded).logs(/unavailable.* code="password" reason="the server requires a password;/);
  assert.doesNotMatch(it.logged.join(""), /wrong-password/);
  const evicting = await startRedis("--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru");
  await node(evicting).logs(
    /code="eviction" reason="expected maxmemory-policy noeviction, got allk/,
  );
});

test("warns about nodes with another prefix on the same server", async () => {
  const server = await startRedis();
  await node(server).next("up");
  const same = node(server);
  await same.next("up");
  const other = node(server, { prefix: "other" });
  await other.next("up");
  await other.logs(/other Sidekicks use .* keys="other:1:3:" others="test:1:3:"/);
  assert.doesNotMatch(same.logged.join(""), /other Sidekicks/);
});

test("a new hub gets new connections, and is not told that the old ones ended", async () => {
  const server = await startRedis();
  const it = node(server);
  await it.next("up");
  it.join(1, "a");
  await it.next("answer 1 0");
  it.run(2, "update", "1000", "a");
  it.redis.renew();
  assert.equal(await it.next(""), "up");
  assert.equal(await server.says("publish", "test:1:3:c:a", "x"), "0");
  it.run(3, "update", "1000", "a");
  assert.match(await it.next("answer"), /^answer 3 0 /);
});

test("reads the URL of an engine", () => {
  const plain = parseEngineUrl("--engine", "redis://localhost");
  assert.equal(plain.shown, "redis://localhost:6379/0");
  assert.equal(plain.isTls, false);
  const { isTls: _, ...full } = parseEngineUrl("E", "rediss://us%40er:p%2Fw@[::1]:7000/15");
  assert.deepEqual(full, {
    shown: "rediss://[::1]:7000/15",
    host: "::1",
    port: 7000,
    user: "us@er",
    password: "p/w",
    database: 15,
  });
  const special = 'p@w^[x]|{}"<>`\\:y~';
  assert.equal(parseEngineUrl("E", `redis://:${special}@a`).password, special);
  assert.equal(parseEngineUrl("E", "redis://10.0.0.1.nip.io").host, "10.0.0.1.nip.io");
  for (const url of [
    ...["redis://[::1", "redis://[::1]06379", "redis://[fe80::1%25lo]", "redis://a/0000000001"],
    ...["redis://a%20b", "redis://a,b", "redis://a/%30", "redis://a?", "redis://:p?w@a"],
    ...["redis://:p%zz@a", "redis://:p%ff@a", "redis://:p/w@a"],
    ...["", "redis", "http://localhost", "redis://", "redis://:secret@", "redis://a:0"],
    ...["redis://a:x", "redis://a:65536", "redis://a/b", "redis://a/1/2", "redis://a/-1"],
    ...["redis://a?db=1", "redis://a#1", "redis://secret:s p@a", "redis://a/%00"],
  ]) {
    assert.throws(() => parseEngineUrl("E", url), {
      message:
        "E: expected a URL such as redis://localhost:6379/0 or rediss://redis.example.com " +
        "(escape special characters of a password as in %40)",
    });
  }
  assert.throws(() => parseEngineUrl("E", "redis://user@a"), {
    message: "E: the URL has a user but no password",
  });
});
