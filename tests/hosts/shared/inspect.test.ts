// `--inspect`: live traffic in a page, and what strangers get. The same on Node and in C++.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { compileModuleSync } from "../../../worker/src/module/hub.ts";
import { Replayer } from "../../../worker/src/module/replay.ts";
import { Inspector, moduleBytes } from "../../inspector/support/page.ts";
import { launchBrowser } from "../recordings/demo.ts";
import { inspectorOf } from "./support/command.ts";
import { hostileTexts } from "./support/hostile-texts.ts";
import { atEnd, closeEverything } from "./support/left-open.ts";
import type { Run } from "./support/run.ts";
import { killLeftRunning, run } from "./support/run.ts";
import {
  eventually,
  registerToken,
  request,
  SECRET,
  startTestSidekick,
  TestClient,
} from "./support/sidekick.ts";

after(killLeftRunning);
afterEach(closeEverything);

const SCRIPT = "</script><script>owned = 1</script><img src=x onerror=owned=1><!--";
const FLAGS = ["--port", "0", "--host", "127.0.0.1", "--secret", SECRET];

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "sidekick-inspect-"));
});
after(() => rmSync(folder, { recursive: true }));

let sidekick: Run;
let port: number;
let url: URL;

async function start(...flags: string[]): Promise<void> {
  sidekick = run([...FLAGS, "--inspect", "0", ...flags]);
  atEnd(() => {
    sidekick.kill("SIGKILL");
    return sidekick.exit;
  });
  port = await sidekick.port();
  url = new URL(inspectorOf(sidekick.output())!);
}

async function post(path: string, body: unknown, at = port): Promise<void> {
  const { status } = await request(at, path, JSON.stringify(body));
  assert.equal(status, 200);
}

/** A client that listens to a resource, and has been told so. */
async function listener(resource: string, at = port): Promise<TestClient> {
  const client = await TestClient.connect(at);
  client.send({ type: "listen", resources: [resource] });
  assert.equal((await client.next()).type, "listening");
  return client;
}

function open(path: string, headers: OutgoingHttpHeaders = {}, method = "GET", at = url) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    const sent = httpRequest(new URL(path, at), { headers, method }, resolve);
    sent.on("error", reject).end();
    atEnd(() => sent.destroy());
  });
}

/** A page of the inspector: reads its events one by one. */
class Reader {
  text = "";
  readonly ended: Promise<void>;
  readonly #response: IncomingMessage;

  static async open(at = url): Promise<Reader> {
    const response = await open("./live", {}, "GET", at);
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers["content-type"], "text/event-stream");
    return new Reader(response);
  }

  private constructor(response: IncomingMessage) {
    this.#response = response;
    response.setEncoding("utf8").on("data", (chunk: string) => (this.text += chunk));
    response.on("error", () => {});
    this.ended = new Promise((resolve) => response.on("close", resolve));
  }

  get lines(): string[] {
    return linesOf(this.text);
  }

  async shows(pattern: RegExp): Promise<void> {
    await eventually(
      () => pattern.test(this.text),
      () => `${pattern} in: ${this.text.slice(-1000)}`,
    );
  }

  /** Takes no more until `resume`. */
  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#response.destroy();
  }
}

/** Of the whole events. */
function linesOf(text: string): string[] {
  return text
    .slice(0, text.lastIndexOf("\n\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.slice("data: ".length));
}

function nameOf(line: string): string {
  return /^\{"(?:in|out)":"(\w+)"/.exec(line)?.[1] ?? /^\{"(\w+)"/.exec(line)![1]!;
}

/** @returns the replayer, which has found no difference */
function replayed(lines: readonly string[]): Replayer {
  const replayer = new Replayer(compileModuleSync(moduleBytes));
  for (const line of lines) assert.equal(replayer.line(Buffer.from(line)), undefined, line);
  assert.equal(replayer.end(), undefined);
  return replayer;
}

/** 40 messages are more than the buffers of the system and of a reader hold. */
async function sendLarge(count: number): Promise<void> {
  const data = "x".repeat(900_000);
  for (let sent = 0; sent < count; sent++)
    await post("/message", { channel: "chat", params: {}, data });
}

describe("--inspect", () => {
  beforeEach(() => start());

  it("refuses strangers", async () => {
    const cases: readonly [string, number, string, OutgoingHttpHeaders, string?][] = [
      ["a guessed path", 404, "/", {}],
      ["a path of the same length", 404, `/${"0".repeat(32)}/`, {}],
      ["another file", 404, "./other", {}],
      ["a name that resolves to this machine", 403, "./", { host: "evil.example:1" }],
      ["such a name with the right port", 403, "./live", { host: `evil.example:${url.port}` }],
      ["no port", 403, "./live", { host: "127.0.0.1" }],
      ["an address that goes on", 403, "./live", { host: `[::1]x:${url.port}` }],
      ["a page of another origin", 403, "./live", { origin: "https://evil.example" }],
      ["a page without an origin", 403, "./live", { origin: "null" }],
      ["a request from another site", 403, "./live", { "sec-fetch-site": "cross-site" }],
      ["a frame on this machine", 403, "./", { "sec-fetch-site": "same-site" }],
      ["another method", 405, "./live", {}, "POST"],
    ];
    for (const [title, status, path, headers, method] of cases) {
      const response = await open(path, { host: url.host, ...headers }, method);
      assert.equal(response.statusCode, status, title);
      assert.equal(response.headers["access-control-allow-origin"], undefined, title);
      assert.match(String(response.headers["content-security-policy"]), /frame-ancestors 'none'/);
    }
  });

  it("serves the page to this machine by each of its names, for this origin only", async () => {
    for (const name of ["127.0.0.1", "localhost", "LocalHost", "[::1]"]) {
      const host = `${name}:${url.port}`;
      const response = await open("./", { host, origin: `http://${host}` });
      assert.equal(response.statusCode, 200);
      for (const [header, value] of [
        ["cache-control", "no-store"],
        ["cross-origin-opener-policy", "same-origin"],
        ["cross-origin-resource-policy", "same-origin"],
        ["referrer-policy", "no-referrer"],
        ["x-content-type-options", "nosniff"],
      ] as const)
        assert.equal(response.headers[header], value);
    }
  });

  it("listens on loopback only, and on a path that differs each time", async () => {
    assert.equal(url.hostname, "127.0.0.1");
    assert.match(url.pathname, /^\/[0-9a-f]{32}\/$/);
    const before = url.pathname;
    await start();
    assert.notEqual(url.pathname, before);
  });

  it("begins with the state, and what follows replays", async () => {
    await listener("todo/1");
    await registerToken(port, "t1", "chat", { roomId: "1" });
    const reader = await Reader.open();
    await post("/resources", { resources: ["todo/1"] });
    await post("/resources", { resources: ["end"] });
    await reader.shows(/\\"end\\"/);
    assert.deepEqual(reader.lines.slice(0, 5).map(nameOf), [
      ...["trace", "begin", "restore_token", "restore_client", "restored"],
    ]);
    assert.match(reader.text, /updated\\", \\"resource\\": \\"todo\/1/);
    assert.equal(replayed(reader.lines).cuts.length, 0);
  });

  it("begins with the state after forwards, and what follows replays", async () => {
    await registerToken(port, "t1");
    const client = await TestClient.connect(port);
    await client.subscribe("t1");
    const send = async () => {
      client.send({ type: "send", token: "t1", channel: "chat", params: {}, data: 1 });
      assert.equal((await client.next()).type, "error"); // there is no app server
    };
    await send();
    const reader = await Reader.open();
    await send();
    await reader.shows(/"out":"forward"[^]*"in":"forward_done"/);
    replayed(reader.lines);
  });

  it("shows the same to each of several readers", async () => {
    const readers = await Promise.all([1, 2, 3].map(() => Reader.open()));
    await Promise.all(readers.map((reader) => reader.shows(/"in":"restored"/)));
    readers.pop()!.close();
    await post("/resources", { resources: ["todo/1"] });
    await Promise.all(readers.map((reader) => reader.shows(/todo\/1/)));
    const [one, other] = readers.map(({ lines }) =>
      lines.slice(lines.findIndex((line) => line.includes("todo/1"))),
    );
    assert.deepEqual(one!.map(nameOf), ["http_request", "respond"]);
    assert.deepEqual(one, other);
  });

  it("replays if the first client that says hello comes after forwards", async () => {
    await registerToken(port, "t1");
    const client = await TestClient.connect(port);
    const message = { type: "send", token: "t1", channel: "chat", params: {}, data: 1 };
    client.send(message);
    assert.equal((await client.next()).type, "error"); // there is no app server
    const reader = await Reader.open();
    await reader.shows(/"in":"restored"/);
    const greeting = await TestClient.connect(port);
    greeting.send({ type: "listen", resources: [], hello: "session-of-the-reader" });
    assert.equal((await greeting.next()).type, "listening");
    client.send(message);
    assert.equal((await client.next()).type, "error");
    await reader.shows(/welcome[^]*"in":"forward_done"/);
    replayed(reader.lines);
  });

  it("serves at most eight readers", async () => {
    const readers: Reader[] = [];
    while (readers.length < 8) readers.push(await Reader.open());
    assert.equal((await open("./live")).statusCode, 503);
    readers.pop()!.close();
    await eventually(async () => {
      const response = await open("./live");
      return response.statusCode === 200;
    });
  });

  it("tells a slow reader how many lines it missed, and the rest replays", async () => {
    await listener("todo/1");
    const slow = await Reader.open();
    await slow.shows(/"in":"restored"/);
    slow.pause();
    const quick = await Reader.open();
    await sendLarge(40);
    await post("/resources", { resources: ["last"] });
    await quick.shows(/\\"last\\"/);
    slow.resume();
    await slow.shows(/^data: \{"gap":\d+\}\n[^]*"in":"restored"/m);
    await post("/resources", { resources: ["after"] });
    await slow.shows(/\\"after\\"/);
    await quick.shows(/\\"after\\"/);
    const [, missed] = /"gap":(\d+)/.exec(slow.text)!;
    assert.equal(slow.text.match(/"gap"/g)!.length, 1);
    // The slow one got the state twice, and the timer after its first state.
    const count = ({ lines }: Reader) => lines.filter((line) => !line.startsWith('{"gap"')).length;
    const state = slow.lines.map(nameOf).indexOf("restored") + 1;
    assert.equal(count(slow) + Number(missed), count(quick) + state + 1);
    const at = slow.lines.map(nameOf).indexOf("gap");
    assert.deepEqual(replayed(slow.lines).gaps, [{ line: at, lines: Number(missed) }]);
    assert.equal(slow.lines.slice(at + 1).map(nameOf)[0], "trace");
  });

  it("does not drop clients for the unread lines of a reader", async () => {
    const config = join(folder, "small.json");
    const [bytes, body] = [8 << 20, 1 << 20];
    const limits = { client_buffer_bytes_max: bytes, unsent_bytes_max: bytes };
    writeFileSync(config, JSON.stringify({ ...limits, http_body_bytes_max: body }));
    await start("--config", config);
    await registerToken(port, "t1");
    const client = await TestClient.connect(port);
    await client.subscribe("t1");
    const slow = await Reader.open();
    await slow.shows(/"in":"restored"/);
    slow.pause();
    client.socket.pause(); // so that it has unsent messages, too
    await sendLarge(9);
    client.socket.resume();
    for (let count = 0; count < 9; count++) assert.equal((await client.next()).type, "message");
    assert.doesNotMatch(sidekick.log(), /dropped connections/);
  });

  it("shows that all sockets close when the host stops", async () => {
    await listener("todo/1");
    const reader = await Reader.open();
    await reader.shows(/"in":"restored"/);
    sidekick.kill("SIGTERM");
    await reader.ended;
    assert.match(reader.text, /"in":"shutting_down"[^]*"in":"client_closed"[^}]*\}\n\n$/);
    replayed(reader.lines);
    assert.equal(await sidekick.exit, 0);
  });

  it("shows the state to a reader that connects while the host drains", async () => {
    await start("--drain-seconds", "60");
    await listener("todo/1");
    sidekick.kill("SIGTERM");
    await sidekick.says(/draining/);
    const reader = await Reader.open();
    await reader.shows(/"in":"draining"/);
    sidekick.kill("SIGTERM");
    await reader.ended;
    replayed(reader.lines);
  });

  it("works beside --record, and the file has the same lines", async () => {
    const file = join(folder, "record.jsonl");
    await start("--record", file);
    const reader = await Reader.open();
    await reader.shows(/"in":"restored"/);
    const state = reader.lines.map(nameOf).indexOf("restored") + 1;
    await post("/resources", { resources: ["end"] });
    await reader.shows(/\\"end\\"/);
    sidekick.kill("SIGTERM");
    await sidekick.exit;
    await reader.ended;
    const recorded = readFileSync(file, "utf8").split("\n").slice(0, -1);
    const isShown = (line: string) => !line.startsWith('{"hash"');
    assert.deepEqual(recorded.filter(isShown).slice(3), reader.lines.slice(state));
  });
});

it("shows a trap, and the hub that replaces the trapped one", async () => {
  const inspect = { host: "127.0.0.1", port: 0 };
  const host = await startTestSidekick({ inspect, traps: { restore: false } });
  const reader = await Reader.open(new URL(host.inspectorUrl!));
  await reader.shows(/"in":"restored"/);
  const client = await listener("todo/1", host.port);
  client.send("trap!");
  await client.closed;
  await listener("todo/1", host.port);
  await post("/resources", { resources: ["end"] }, host.port);
  await reader.shows(/\\"end\\"/);
  const names = reader.lines.map(nameOf);
  const second = names.lastIndexOf("trace");
  assert.deepEqual(names.slice(second - 1, second + 2), ["client_frame", "trace", "begin"]);
  assert.match(reader.lines[second - 1]!, /trap!/);
  const late = await Reader.open(new URL(host.inspectorUrl!));
  await late.shows(/"in":"restore_client"[^]*"in":"restored"/);
  replayed(late.lines);
});

it("does not show a state that traps, and nobody else notices", async () => {
  const inspect = { host: "127.0.0.1", port: 0 };
  const host = await startTestSidekick({ inspect, traps: { restore: true } });
  await registerToken(host.port, "t1");
  const client = await listener("todo/1", host.port);
  const reader = await open("./live", {}, "GET", new URL(host.inspectorUrl!)).catch(
    () => undefined,
  );
  reader?.resume().on("error", () => {});
  await eventually(() => host.logLines.some((line) => line.includes("cannot show the state")));
  await post("/resources", { resources: ["todo/1"] }, host.port);
  assert.deepEqual(await client.next(), { type: "updated", resource: "todo/1" });
});

describe("the flag", () => {
  it("is off by default", async () => {
    const other = run(FLAGS);
    await other.port();
    assert.equal(inspectorOf(other.output()), undefined);
    other.kill("SIGTERM");
    await other.exit;
  });

  it("takes [HOST:]PORT", async () => {
    for (const wrong of ["", "x", "1:2:3", "70000", ":1", "[::1]", "[::1]x:1", "::1:1"]) {
      const other = run([...FLAGS, `--inspect=${wrong}`]);
      assert.equal(await other.exit, 2);
      assert.match(other.log(), /--inspect: expected \[HOST:\]PORT, got /);
    }
    const named = run([...FLAGS, "--inspect", "localhost:0"]);
    await named.says(/Inspector: http:\/\/localhost:\d+\/[0-9a-f]{32}\//);
    named.kill("SIGTERM");
    await named.exit;
  });

  it("says why nothing can listen there", async () => {
    await start();
    const taken = run([...FLAGS, "--inspect", url.port]);
    assert.equal(await taken.exit, 1);
    assert.match(taken.log(), /127\.0\.0\.1 port \d+ is in use: .* another port with --inspect\n/);
    const unknown = run([...FLAGS, "--inspect", "192.0.2.1:0"]);
    assert.equal(await unknown.exit, 2);
    assert.match(unknown.log(), /--inspect: this machine has no address "192\.0\.2\.1"/);
  });
});

describe("the live page", () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser?.close());
  beforeEach(() => start());

  async function withPage(use: (inspector: Inspector) => Promise<void>): Promise<void> {
    const inspector = await Inspector.open(browser, folder, url.origin);
    try {
      await inspector.page.goto(url.href);
      await inspector.page.locator(".row").getByText("restored").waitFor();
      await use(inspector);
      const lost = "ERR_INCOMPLETE_CHUNKED_ENCODING";
      assert.deepEqual(
        inspector.complaints.filter((text) => !text.includes(lost)),
        [],
      );
    } finally {
      await inspector.close();
    }
  }

  it("shows what happens, follows it, and says when Sidekick has stopped", async () => {
    await listener("todo/1");
    await withPage(async ({ page }) => {
      await page.locator(".row").getByText("restore_client").waitFor();
      for (let count = 0; count < 60; count++)
        await post("/resources", { resources: [`todo/${count}`] });
      await page.locator(".row").getByText("POST /resources  todo/59").waitFor();
      await page.locator("#summary").getByText("live").first().waitFor();
      await page.keyboard.press("/");
      await page.keyboard.type("type:updated");
      await page
        .locator("#matches")
        .getByText(/^1 input$/)
        .waitFor();
      await post("/resources", { resources: ["todo/1"] });
      await page
        .locator("#matches")
        .getByText(/^2 inputs$/)
        .waitFor();
      sidekick.kill("SIGTERM");
      await page.getByText("The connection to Sidekick is lost.").waitFor();
    });
  });

  it("shows the state while it follows, stays at a line, and follows again", async () => {
    await listener("todo/1");
    await withPage(async (inspector) => {
      const { page, panel } = inspector;
      const posted = (name: string) => page.locator(".row").getByText(`POST /resources  ${name}`);
      const change = (name: string) => post("/resources", { resources: [name] });
      for (let count = 0; count < 60; count++) await change(`todo/${count}`);
      await posted("todo/59").waitFor();
      await page.keyboard.press("2");
      await listener("todo/2");
      await panel.getByText("todo/2").first().waitFor();
      await posted("todo/59").click();
      for (let count = 0; count < 60; count++) await change(`while it stays ${count}`);
      await eventually(async () => / 1\d\d inputs/.test(await inspector.summary()));
      assert.equal(await posted("while it stays 59").count(), 0);
      await page.getByRole("button", { name: "Follow" }).click();
      await posted("while it stays 59").waitFor();
      await change("while it follows");
      await posted("while it follows").waitFor();
    });
  });

  it("shows as text what a hostile client and app server send", async () => {
    const { "be no Unicode": surrogates, ...others } = hostileTexts; // names must be Unicode
    const evil = Object.values(others).join("").slice(0, 100) + SCRIPT;
    const [scope, resources] = [{ channel: evil, params: { [evil]: evil } }, [evil]];
    await registerToken(port, evil, evil, { [evil]: evil }, evil);
    const client = await TestClient.connect(port);
    await client.subscribe(evil);
    await withPage(async (inspector) => {
      client.send({ type: "listen", resources });
      client.send({ type: evil, token: evil, ...scope, [evil]: surrogates });
      client.send(evil);
      client.send(Buffer.from([0xff, 0xfe, 0x9b]));
      await post("/resources", { resources });
      for (const path of ["/message", "/<script>owned=1</script>"]) await request(port, path, evil);
      await post("/message", { ...scope, data: [evil, surrogates] });
      const { page } = inspector;
      await page.locator(".row").getByText("POST /message  ").last().waitFor();
      const [, lines] = / (\d+) lines/.exec(await inspector.summary())!;
      await inspector.walk(Number(lines));
    });
  });

  it("saves a recording, and verifies it", async () => {
    await withPage(async ({ page }) => {
      await listener("todo/1");
      await post("/resources", { resources: ["todo/1"] });
      await page.locator(".row").getByText("POST /resources  todo/1").waitFor();
      await page.keyboard.press("4");
      await page.getByRole("button", { name: "Replay" }).click();
      await page
        .locator(".verdict.equal")
        .getByText(/inputs replayed, all actions equal/)
        .waitFor();
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: "Save" }).click(),
      ]);
      const saved = readFileSync(await download.path(), "utf8");
      assert.notEqual(replayed(saved.split("\n").slice(0, -1)).inputs, 0);
    });
  });
});
