// `--inspect`: live traffic in the page, and what strangers get.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { WebSocket } from "ws";
import { createLog, type Sidekick, startSidekick } from "../../worker/dist/node/index.js";
import { parseInspectAddress } from "../../worker/dist/node/inspection.js";
import { compileModuleSync } from "../../worker/src/module/hub.ts";
import { Replayer } from "../../worker/src/module/replay.ts";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import { Inspector, moduleBytes } from "./support/page.ts";

const SECRET = "secret-of-the-tests";

let sidekick: Sidekick;
let url: URL;
const sockets: WebSocket[] = [];

beforeEach(async () => {
  sidekick = await startSidekick({
    ...{ port: 0, host: "127.0.0.1", secrets: [SECRET], log: createLog("error") },
    inspect: parseInspectAddress("0"),
  });
  url = new URL(sidekick.inspectorUrl!);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  await sidekick.close();
});

async function post(path: string, body: unknown): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${sidekick.port}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${SECRET}` },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200);
}

/** A client that listens to a resource, and has been told so. */
async function listener(resource: string): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${sidekick.port}/socket`);
  sockets.push(socket);
  await new Promise((resolve) => socket.once("open", resolve));
  const answer = new Promise((resolve) => socket.once("message", resolve));
  socket.send(JSON.stringify({ type: "listen", resources: [resource] }));
  await answer;
  return socket;
}

/** Takes the lines of the stream, until one matches. */
async function linesUntil(response: IncomingMessage, last: RegExp): Promise<string[]> {
  const lines: string[] = [];
  let rest = "";
  for await (const chunk of response.setEncoding("utf8")) {
    const parts = (rest + String(chunk)).split("\n");
    rest = parts.pop()!;
    lines.push(...parts.filter((part) => part !== "").map((part) => part.slice("data: ".length)));
    if (lines.some((line) => last.test(line))) break;
  }
  return lines;
}

function open(path: string, headers: OutgoingHttpHeaders = {}, method = "GET") {
  return new Promise<IncomingMessage>((resolve, reject) => {
    request(new URL(path, url), { headers, method }, resolve).on("error", reject).end();
  });
}

describe("--inspect", () => {
  const refused: readonly [string, number, string, OutgoingHttpHeaders, string?][] = [
    ["a guessed path", 404, "/", {}],
    ["a path of the same length", 404, `/${"0".repeat(32)}/`, {}],
    ["another file", 404, "./other", {}],
    ["a name that resolves to this machine", 403, "./", { host: "evil.example:1" }],
    ["such a name with the right port", 403, "./live", { host: "evil.example:PORT" }],
    ["no port", 403, "./live", { host: "127.0.0.1" }],
    ["a page of another origin", 403, "./live", { origin: "https://evil.example" }],
    ["a page without an origin", 403, "./live", { origin: "null" }],
    ["a request from another site", 403, "./live", { "sec-fetch-site": "cross-site" }],
    ["a frame on this machine", 403, "./", { "sec-fetch-site": "same-site" }],
    ["another method", 405, "./live", {}, "POST"],
  ];
  for (const [title, status, path, headers, method] of refused) {
    it(`refuses ${title}`, async () => {
      const host = String(headers["host"] ?? url.host).replace("PORT", url.port);
      const response = await open(path, { ...headers, host }, method);
      assert.equal(response.statusCode, status);
      assert.equal(response.headers["access-control-allow-origin"], undefined);
      assert.match(String(response.headers["content-security-policy"]), /frame-ancestors 'none'/);
      response.destroy();
    });
  }

  it("accepts this machine by each of its names", async () => {
    for (const name of ["127.0.0.1", "localhost"]) {
      const response = await open("./", { host: `${name}:${url.port}` });
      assert.equal(response.statusCode, 200);
      response.destroy();
    }
  });

  it("listens on loopback only, and on a path that differs each time", async () => {
    assert.equal(url.hostname, "127.0.0.1");
    assert.match(url.pathname, /^\/[0-9a-f]{32}\/$/);
    assert.deepEqual(parseInspectAddress("[::1]:9000"), { host: "::1", port: 9000 });
    assert.deepEqual(parseInspectAddress("box:9000"), { host: "box", port: 9000 });
    for (const wrong of ["", "x", "1:2:3", "70000", ":1"])
      assert.throws(() => parseInspectAddress(wrong), /--inspect: expected \[HOST:\]PORT/);
  });

  it("begins with the state, and what follows replays", async () => {
    await listener("todo/1");
    await post("/connection", { token: "t1", channel: "chat", params: { roomId: "1" } });
    const response = await open("./live");
    const taken = linesUntil(response, /\\"end\\"/);
    await post("/resources", { resources: ["todo/1"] });
    await post("/resources", { resources: ["end"] });
    const lines = await taken;
    const kinds = lines.slice(0, 5).map((line) => /"(?:in|out)":"(\w+)"|"(trace)"/.exec(line));
    assert.deepEqual(
      kinds.map((kind) => kind?.[1] ?? kind?.[2]),
      ["trace", "begin", "restore_token", "restore_client", "restored"],
    );
    const replayer = new Replayer(compileModuleSync(moduleBytes));
    for (const line of lines) assert.equal(replayer.line(Buffer.from(line)), undefined, line);
    assert.match(lines.join("\n"), /updated\\", \\"resource\\": \\"todo\/1/);
    response.destroy();
  });

  it("tells a slow reader how many lines it missed, and sends the state again", async () => {
    await listener("todo/1");
    const slow = connect(Number(url.port), "127.0.0.1");
    slow.write(`GET ${url.pathname}live HTTP/1.1\r\nhost: ${url.host}\r\n\r\n`);
    await new Promise((resolve) => slow.once("data", resolve));
    slow.pause();
    const quick = await open("./live");
    let seen = "";
    quick.setEncoding("utf8").on("data", (chunk) => (seen += chunk));
    // More than the buffers of the system hold, too.
    const large = "x".repeat(900_000);
    for (let count = 0; count < 40; count++)
      await post("/message", { channel: "chat", params: { roomId: String(count) }, data: large });
    await post("/resources", { resources: ["last"] });
    let text = "";
    slow.setEncoding("utf8").on("data", (chunk) => (text += chunk));
    slow.resume();
    while (!/data: \{"gap":\d+\}\n[^]*"in":"restored"/.test(text))
      await new Promise((resolve) => slow.once("data", resolve));
    await post("/resources", { resources: ["after"] });
    while (!text.includes('\\"after\\"'))
      await new Promise((resolve) => slow.once("data", resolve));
    while (!seen.includes('\\"after\\"'))
      await new Promise((resolve) => quick.once("data", resolve));
    const linesOf = (stream: string): number => stream.match(/^data: \{"(?:in|out)/gm)!.length;
    const [, gap] = /"gap":(\d+)/.exec(text)!;
    assert.notEqual(Number(gap), 0);
    assert.equal((text.match(/"gap"/g) ?? []).length, 1);
    // Both got the state once: the first event of the slow one is not in its text.
    assert.equal(linesOf(text) + Number(gap), linesOf(seen));
    slow.destroy();
    quick.destroy();
  });

  it("serves at most eight readers", async () => {
    const readers: IncomingMessage[] = [];
    for (let count = 0; count < 8; count++) readers.push(await open("./live"));
    const ninth = await open("./live");
    assert.equal(ninth.statusCode, 503);
    readers.pop()!.destroy();
    let again = ninth;
    while (again.statusCode === 503) again = await open("./live");
    assert.equal(again.statusCode, 200);
    for (const reader of [...readers, ninth, again]) reader.destroy();
  });

  it("is off by default", async () => {
    const other = await startSidekick({ port: 0, secrets: [SECRET], log: createLog("error") });
    assert.equal(other.inspectorUrl, undefined);
    await other.close();
  });
});

describe("the live page", () => {
  let browser: Browser;
  let folder: string;
  before(async () => {
    browser = await launchBrowser();
    folder = mkdtempSync(join(tmpdir(), "sidekick-live-"));
  });
  after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("shows what happens, follows it, and says when Sidekick has stopped", async () => {
    await listener("todo/1");
    const inspector = await Inspector.open(browser, folder, url.origin);
    try {
      const { page } = inspector;
      await page.goto(url.href);
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
      await sidekick.close();
      await page.getByText("The connection to Sidekick is lost.").waitFor();
      assert.deepEqual(
        inspector.complaints.filter((text) => !text.includes("ERR_INCOMPLETE_CHUNKED_ENCODING")),
        [],
      );
    } finally {
      await inspector.close();
    }
  });
});
