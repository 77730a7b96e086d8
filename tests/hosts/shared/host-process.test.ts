// The environment of the process: signals, output that nobody reads, addresses, settings that the
// platform makes, peers that do not speak HTTP. The same on Node and in C++.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeSync,
} from "node:fs";
import { mkdtemp } from "node:fs/promises";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { atEnd, closeEverything } from "./support/left-open.ts";
import { startRawServer } from "./support/raw-answers.ts";
import { isNative, isUnderBunOrDeno, killLeftRunning, run } from "./support/run.ts";
import { shim } from "./support/shim.ts";
import { eventually, request, TestClient } from "./support/sidekick.ts";

after(closeEverything);
after(killLeftRunning);

const FLAGS = ["--host", "127.0.0.1", "--secret", "s"];

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  atEnd(() => execFileSync("rm", ["-r", folder]));
  return folder;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const isHealthy = (port: number, host = "127.0.0.1") =>
  fetch(`http://${host}:${port}/health`).then(
    ({ status }) => status === 200,
    () => false,
  );

/** Sends bytes and waits until the other side has closed. */
async function sendBytes(port: number, bytes: Buffer | string): Promise<string> {
  const socket = net.connect(port, "127.0.0.1");
  atEnd(() => socket.destroy());
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1"))).on("error", () => {});
  socket.end(bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return answer;
}

for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
  test(`${signal}: closes sockets with 1001, ends the recording and exits with 0`, async () => {
    const trace = join(await newFolder(), "trace");
    const sidekick = run([...FLAGS, "--port", "0", "--record", trace]);
    const client = await TestClient.connect(await sidekick.port());
    sidekick.kill(signal);
    assert.equal((await client.closed).code, 1001);
    assert.equal(await sidekick.exit, 0, sidekick.output());
    assert.match(sidekick.output(), new RegExp(`shutting down signal="${signal}"\n`));
    assert.match(readFileSync(trace, "utf8"), /"client_closed"[^\n]*\n$/);
  });
}

/** A host with a client that has sent three messages; the app server answers none. */
async function startWithHungForward() {
  const app = await startRawServer(() => {});
  const sidekick = run([...FLAGS, "--port", "0", "--server-url", app.url]);
  const port = await sidekick.port();
  const body = '{ "token": "t", "channel": "c", "params": {} }';
  assert.equal((await request(port, "/connection", body, { secret: "s" })).status, 200);
  const client = await TestClient.connect(port);
  for (let data = 0; data < 3; data++)
    client.send({ type: "send", token: "t", channel: "c", params: {}, data });
  client.send({ type: "listen", resources: ["r"] });
  assert.match(await client.nextText(), /listening/); // so the messages before it have arrived
  await eventually(() => app.taken === 1);
  return { sidekick, client };
}

test("at the end of a shutdown, the sender of each message that waits gets an error", async () => {
  const { sidekick, client } = await startWithHungForward();
  sidekick.kill("SIGTERM");
  assert.match(await client.nextText(), /closed the connection without an answer/);
  for (let i = 0; i < 2; i++) assert.match(await client.nextText(), /was not processed/);
  assert.equal((await client.closed).code, 1001);
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

test("a second signal waits for nothing, and closes sockets with 1001", async () => {
  const { sidekick, client } = await startWithHungForward();
  sidekick.kill("SIGTERM");
  await sidekick.says(/shutting down/);
  sidekick.kill("SIGTERM");
  assert.match(await client.nextText(), /closed the connection without an answer/);
  assert.equal((await client.closed).code, 1001);
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) {
  test(`${signal}: is logged, and changes nothing`, async () => {
    const sidekick = run([...FLAGS, "--port", "0"]);
    const client = await TestClient.connect(await sidekick.port());
    sidekick.kill(signal);
    await sidekick.says(new RegExp(`ignored a signal signal="${signal}"\n`));
    client.send({ type: "listen", resources: ["r"] });
    assert.match(await client.nextText(), /listening/);
    assert.doesNotMatch(sidekick.output(), /[Dd]ebugger/);
    sidekick.kill("SIGTERM");
    assert.equal(await sidekick.exit, 0, sidekick.output());
  });
}

for (const signal of ["SIGPIPE", "SIGXFSZ"] as const) {
  test(`${signal}: changes nothing`, async () => {
    const sidekick = run([...FLAGS, "--port", "0"]);
    const client = await TestClient.connect(await sidekick.port());
    sidekick.kill(signal);
    client.send({ type: "listen", resources: ["r"] });
    assert.match(await client.nextText(), /listening/);
    sidekick.kill("SIGTERM");
    assert.equal(await sidekick.exit, 0, sidekick.output());
  });
}

test("a third signal ends a process whose recording is on a disk that hangs", async () => {
  const trace = join(await newFolder(), "hangs");
  const env = shim(`
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    ssize_t write(int file, const void* bytes, size_t size) {
      char link[32] = "/proc/self/fd/", path[4096] = "", number[12];
      int digits = 0, rest = file;
      do number[digits++] = '0' + rest % 10; while (rest /= 10);
      for (int i = 0; i < digits; ++i) link[14 + i] = number[digits - 1 - i];
      const ssize_t length = readlink(link, path, sizeof path - 1);
      if (length > 6 && strcmp(path + length - 6, "/hangs") == 0) for (;;) pause();
      return syscall(SYS_write, file, bytes, size);
    }`);
  const sidekick = run([...FLAGS, "--port", "0", "--record", trace], env);
  const client = await TestClient.connect(await sidekick.port());
  sidekick.kill("SIGTERM");
  assert.equal((await client.closed).code, 1001);
  // Not at once: signals that arrive together count as one.
  const more = setInterval(() => sidekick.kill("SIGTERM"), 300);
  await sidekick.exit;
  clearInterval(more);
});

test("a name lookup that hangs does not delay the exit", {
  skip: isNative && "app-server.test.ts has it",
}, async () => {
  const env = shim(`
    #include <dlfcn.h>
    #include <netdb.h>
    #include <string.h>
    #include <unistd.h>
    int getaddrinfo(const char* name, const char* service, const struct addrinfo* hints,
                    struct addrinfo** found) {
      if (name != 0 && strcmp(name, "slow.test") == 0) for (;;) pause();
      int (*system)(const char*, const char*, const struct addrinfo*, struct addrinfo**) =
        dlsym(RTLD_NEXT, "getaddrinfo");
      return system(name, service, hints, found);
    }`);
  const trace = join(await newFolder(), "trace");
  const app = ["--server-url", "http://slow.test:9/", "--server-secret", "x"];
  const sidekick = run([...FLAGS, "--port", "0", "--record", trace, ...app], env);
  const port = await sidekick.port();
  const body = JSON.stringify({ token: "t", channel: "c", params: {}, context: null });
  assert.equal((await request(port, "/connection", body, { secret: "s" })).status, 200);
  const client = await TestClient.connect(port);
  client.send({ type: "send", token: "t", channel: "c", params: {}, data: 1 });
  await eventually(() => readFileSync(trace, "utf8").includes('"forward"'));
  sidekick.kill("SIGTERM");
  sidekick.kill("SIGTERM");
  assert.equal((await client.closed).code, 1001);
  // On Node null, killed by the signal: exit() would wait.
  assert.equal(await sidekick.exit, isUnderBunOrDeno ? 0 : null);
  assert.match(readFileSync(trace, "utf8"), /"client_closed"[^]*\n$/);
});

test("full pipes for output stop nothing; dropped log lines are counted", {
  timeout: 300_000, // a server that stands still says nothing
}, async () => {
  const folder = await newFolder();
  const paths = ["out", "err"].map((name) => join(folder, name));
  const pipes = paths.map((path) => {
    execFileSync("mkfifo", [path]);
    const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    atEnd(() => closeSync(pipe));
    fill(pipe);
    return pipe;
  });
  const port = await freePort();
  const level = ["--log-level", "debug"];
  const to = `exec >${paths[0]} 2>${paths[1]}; `;
  const sidekick = run([...FLAGS, "--port", String(port), ...level], {}, "cli", to);
  await eventually(() => isHealthy(port));
  // Each logs two lines.
  const upgrade =
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  for (let i = 0; i < 30; i++)
    await Promise.all(Array.from({ length: 100 }, () => sendBytes(port, upgrade)));
  assert.equal(await isHealthy(port), true);
  const [out, err] = pipes.map((pipe) => drainSoon(pipe));
  const said = async (text: () => string, pattern: RegExp) => {
    while (!pattern.test(text())) await sendBytes(port, upgrade);
  };
  await said(out!, /Press Ctrl\+C to stop\n/);
  await said(err!, /warn {2}log lines were dropped: stderr is read too slowly lines=\d+\n/);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

function fill(pipe: number): void {
  for (const size of [4096, 1]) {
    try {
      for (;;) writeSync(pipe, Buffer.alloc(size, "x"));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "EAGAIN");
    }
  }
}

/** Reads the pipe in the background; the result returns the text so far. */
function drainSoon(pipe: number): () => string {
  let text = "";
  const chunk = Buffer.alloc(65536);
  return () => {
    try {
      for (;;) text += chunk.toString("latin1", 0, readSync(pipe, chunk));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "EAGAIN");
    }
    return text;
  };
}

test("no socket takes the number of a closed stderr", async () => {
  const port = await freePort();
  const sidekick = run([...FLAGS, "--port", String(port)], {}, "cli", "exec 2>&-; ");
  await eventually(() => isHealthy(port));
  assert.equal(readlinkSync(`/proc/${sidekick.pid}/fd/2`), "/dev/null");
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("ignores the SIDEKICK_PORT of a Kubernetes Service", async () => {
  const sidekick = run([...FLAGS], { SIDEKICK_PORT: "tcp://10.96.0.12:3001" });
  // Another program of this machine may have the default port.
  await sidekick.says(/listening on http:\/\/\S+:3000\n|port 3000 is in use/);
  assert.match(
    sidekick.output(),
    /warn {2}ignored SIDEKICK_PORT: .*enableServiceLinks.* value="tcp:\/\/10\.96\.0\.12:3001"\n/,
  );
  sidekick.kill("SIGTERM");
  await sidekick.exit;
});

test("listens on every address that the name of --host has", async () => {
  const env = shim(`
    #include <dlfcn.h>
    #include <netdb.h>
    #include <string.h>
    int getaddrinfo(const char* name, const char* service, const struct addrinfo* hints,
                    struct addrinfo** found) {
      int (*system)(const char*, const char*, const struct addrinfo*, struct addrinfo**) =
        dlsym(RTLD_NEXT, "getaddrinfo");
      if (name == 0 || strcmp(name, "all.test") != 0) return system(name, service, hints, found);
      static const char* const addresses[] = {"127.0.0.1", "127.0.0.2", "192.0.2.1", "127.0.0.1"};
      struct addrinfo** end = found;
      for (int i = 0; i < 4; ++i) {
        const int error = system(addresses[i], service, hints, end);
        if (error != 0) return error;
        while (*end != 0) end = &(*end)->ai_next;
      }
      return 0;
    }`);
  const sidekick = run(["--host", "all.test", "--secret", "s", "--port", "0"], env);
  const port = await sidekick.port();
  assert.match(sidekick.output(), /listening on http:\/\/all\.test:\d+\n/);
  for (const address of ["127.0.0.1", "127.0.0.2"])
    assert.equal(await isHealthy(port, address), true, address);
  const taken = run(["--host", "all.test", "--secret", "s", "--port", String(port)], env);
  assert.equal(await taken.exit, 1);
  assert.match(taken.output(), /all\.test port \d+ is in use/);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0, sidekick.output());
  assert.equal(await isHealthy(port, "127.0.0.2"), false);
});

test("the log names the protocol of a request that is not HTTP/1.1", {
  timeout: 120_000,
}, async () => {
  const sidekick = run([...FLAGS, "--port", "0"]);
  const port = await sidekick.port();
  const tls = Buffer.from("16030100c8010000c40303", "hex");
  const proxy2 = Buffer.from("0d0a0d0a000d0a515549540a2111000c", "hex");
  for (const [bytes, expected] of [
    [tls, /warn {2}rejected a request that is TLS, not HTTP\/1\.1 advice="use http.*remote="127/],
    ["PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", /that is the PROXY protocol, .* in the load balancer/],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /that is HTTP\/2, not HTTP\/1\.1 advice=".*HTTP\/1\.1/],
  ] as const) {
    assert.match(await sendBytes(port, bytes), /^HTTP\/1\.1 400 /);
    await sidekick.says(expected);
  }
  assert.match(await sendBytes(port, proxy2), /^HTTP\/1\.1 400 /); // the line above is held back
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("--idle-timeout closes a connection that is idle, and is announced", async () => {
  for (const [flags, seconds] of [
    [["--idle-timeout", "1"], 1],
    [[], 65],
  ] as const) {
    const sidekick = run([...FLAGS, "--port", "0", ...flags]);
    const socket = net.connect(await sidekick.port(), "127.0.0.1");
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    const [head] = await Promise.all([new Promise((resolve) => socket.once("data", resolve))]);
    assert.match(String(head), new RegExp(`\r\nKeep-Alive: timeout=${seconds}\r\n`));
    if (seconds === 1) await closed;
    socket.destroy();
    sidekick.kill("SIGTERM");
    assert.equal(await sidekick.exit, 0);
  }
});
