// The client in a real browser: the demo page over a network that fails in the ways that only a
// browser and a real socket have. Pages run on Playwright's clock where their timers matter: a test
// that passes 35 s takes none, and a page that only waited would not get there.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { type FetchHandler, toNodeListener } from "../../worker/demo/http-adapter.js";
import { covenantPath, createSite } from "../../worker/demo/site.js";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import {
  root,
  type SidekickProcess,
  startSidekick,
} from "../hosts/shared/covenant-support/sidekick-process.js";
import { eventually } from "../hosts/shared/support/sidekick.ts";
import { RawChrome } from "./support/raw-chrome.ts";
import { Tunnel } from "./support/tunnel.ts";

/** In both directions: the npm package's Sidekick knows only one. */
const SECRET = "secret-of-the-tests";
/**
 * A Sidekick with few clients spreads over a second what they ask when they come back. Not longer:
 * the page would ping, and not wait for the answer of a Sidekick whose clock does not stand still.
 */
const SPREAD_S = 2;
const WAIT_MS_MAX = 120_000; // only ends a test that has failed, on however slow a machine

let http: Server;
let siteUrl: string;
let sidekick: SidekickProcess;
let tunnel: Tunnel;
let browser: Browser;
let context: BrowserContext;
let pageErrors: string[];

before(async () => {
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  siteUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const serverUrl = `${siteUrl}${covenantPath}`;
  sidekick = await startSidekick({ secret: SECRET, serverSecret: SECRET, serverUrl });
  tunnel = await Tunnel.start(sidekick.port);
  handler = await createSite({
    sidekickUrl: tunnel.url,
    sidekickSecret: SECRET,
    serverSecret: SECRET,
  });
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  http?.closeAllConnections();
  http?.close();
  tunnel?.close();
  await sidekick?.stop();
});

beforeEach(async () => {
  pageErrors = [];
  context = await browser.newContext();
  context.setDefaultTimeout(WAIT_MS_MAX);
  context.on("weberror", (error) => pageErrors.push(String(error.error())));
});

afterEach(async () => {
  await context.close();
  tunnel.onDown = () => true;
  tunnel.target = sidekick.port;
  assert.deepEqual(pageErrors, []);
});

// --- what a user does and sees ---

const shows = (page: Page, text: string | RegExp): Promise<void> =>
  page.getByText(text, { exact: true }).first().waitFor();

async function openTab(state = "Connected"): Promise<Page> {
  const page = await context.newPage();
  await page.goto(siteUrl);
  await shows(page, state);
  return page;
}

/** Its clock stands still but for `pass`, and random waits are as long as they can be. */
async function openOnClock(state?: string): Promise<Page> {
  const page = await context.newPage();
  await page.addInitScript(() => void (Math.random = () => 0.999_999));
  const now = Date.now();
  await page.clock.install({ time: now });
  await page.clock.pauseAt(now + 1000);
  await page.goto(siteUrl);
  if (state !== undefined) await shows(page, state);
  return page;
}

const pass = (page: Page, seconds: number): Promise<void> => page.clock.runFor(seconds * 1000);

/** As `shows`, where the page needs a moment of its own time once Sidekick has answered. */
async function comesToShow(page: Page, text: string): Promise<void> {
  const shown = page.getByText(text, { exact: true }).first();
  for (let waitedMs = 0; !(await shown.isVisible()); waitedMs += 50) {
    assert.ok(waitedMs < WAIT_MS_MAX, `the page does not show: ${text}`);
    await pass(page, 0.01);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function addTodo(page: Page, text: string): Promise<void> {
  await page.getByLabel("New todo").fill(text);
  await page.getByRole("button", { name: "Add" }).click();
  await shows(page, text);
}

async function enter(page: Page, name: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join" }).click();
  await shows(page, `You are ${name} in lobby.`);
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const gaps = (page: Page): Promise<number> => page.locator("#lines .gap").count();
const isLegacy = async (page: Page) =>
  /cannot tell/.test((await page.locator("#reason").textContent())!);

// --- a socket that is open and silent must not count as a connection

test("a tab detects a network that went silent, reconnects, and shows what another tab did", async () => {
  const page = await openOnClock("Connected");
  await enter(page, "Ann");
  await pass(page, 0.1); // for what the reply to the first `listen` may have caused
  tunnel.swallow();
  const other = await openTab();
  await addTodo(other, "From the other tab");
  await shows(page, "Connected"); // it cannot know yet

  await pass(page, 25); // until the ping
  await pass(page, 10); // until its answer is due
  await shows(page, "Connection lost");
  await shows(page, /ping timeout/);
  assert.equal(await page.getByText("From the other tab").count(), 0);

  await pass(page, 1); // the first retry waits for at most one second
  await shows(page, "Connected");
  await shows(page, "You are Ann in lobby.");
  await pass(page, SPREAD_S);
  await comesToShow(page, "From the other tab");
  await page.locator("#todos .missed").getByText("From the other tab").waitFor();
});

test("a socket that opens and stays silent does not count as connected", async () => {
  tunnel.onDown = (chunk) => chunk.includes("101 Switching Protocols");
  const page = await openOnClock("Connecting…");
  await pass(page, 10);
  await shows(page, "No connection");
  await shows(page, /no answer within 10000 ms/);
  tunnel.onDown = () => true;
  await pass(page, 1);
  await shows(page, "Connected");
});

test("a page whose sockets close right after they open backs off", async () => {
  tunnel.onDown = (chunk) => {
    setTimeout(() => tunnel.cut(), 10);
    return chunk.includes("101 Switching Protocols");
  };
  const page = await openOnClock("No connection");
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 6; attempt++) {
    await shows(page, new RegExp(`\\(attempt ${attempt}\\)`));
    const text = await page.locator("#countdown").textContent();
    const seconds = Number(/\d+/.exec(text!)![0]);
    waits.push(seconds);
    await pass(page, seconds - 0.1);
    assert.equal(await page.locator("#state").textContent(), "No connection", "it came early");
    await pass(page, 0.1);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 30]);
});

// --- what only browsers have

const IS_CONNECTED = "document.querySelector('#state')?.textContent === 'Connected'";
const hasTodo = (text: string) =>
  `document.querySelector('#todos').textContent.includes('${text}')`;

test("the event `offline` probes the socket at once, and `online` ends the wait for a retry", async () => {
  const page = await openOnClock("Connected");
  tunnel.swallow();
  tunnel.target = 0;
  await context.setOffline(true);
  await pass(page, 4); // not 35: the event makes the socket suspect
  await shows(page, "Connection lost");
  for (let attempt = 1; attempt < 5; attempt++) {
    await shows(page, new RegExp(`\\(attempt ${attempt}\\)`));
    await pass(page, 2 ** (attempt - 1));
  }
  await shows(page, "retry in 16 s");

  const other = await browser.newContext().then((it) => it.newPage());
  tunnel.target = sidekick.port;
  await other.goto(siteUrl);
  await addTodo(other, "While offline");
  await other.context().close();

  await context.setOffline(false);
  await pass(page, 0.2); // not 16
  await shows(page, "Connected");
  await pass(page, SPREAD_S);
  await comesToShow(page, "While offline");
});

test("a frozen tab catches up when it thaws", async () => {
  const chrome = await RawChrome.start();
  try {
    const page = await chrome.open(siteUrl);
    await page.until(IS_CONNECTED);
    await page.run("document.addEventListener('freeze', () => (window.wasFrozen = true))");
    const before = tunnel.upgrades;
    await page.setState("frozen");
    tunnel.cut();
    const other = await openTab();
    await addTodo(other, "While frozen");
    assert.equal(tunnel.upgrades, before + 1, "only the other tab connects");
    assert.equal(await page.run("window.wasFrozen"), true);

    await page.setState("active");
    await page.until(hasTodo("While frozen"));
    await page.until(IS_CONNECTED);
  } finally {
    await chrome.stop();
  }
});

test("two tabs have a connection each, and both stay in their room when both connections drop", async () => {
  const [left, right] = [await openTab(), await openTab()];
  await enter(left, "Ann");
  await enter(right, "Bob");
  for (let round = 1; round <= 3; round++) {
    tunnel.cut();
    for (const tab of [left, right]) await tab.getByText("Back after").waitFor();
    for (const [tab, name] of [
      [left, "Ann"],
      [right, "Bob"],
    ] as const)
      await shows(tab, `You are ${name} in lobby.`);
    await say(left, `Left, round ${round}`);
    await say(right, `Right, round ${round}`);
    for (const tab of [left, right])
      for (const side of ["Left", "Right"]) await shows(tab, `${side}, round ${round}`);
    for (const tab of [left, right]) await tab.getByRole("button", { name: "OK" }).click();
  }
  // Within a minute, this Sidekick knows what they missed; an older one does not.
  const expected = (await isLegacy(left)) ? 3 : 0;
  assert.deepEqual([await gaps(left), await gaps(right)], [expected, expected]);
});

test("a page restored from the back/forward cache keeps its heap, reconnects and catches up", async () => {
  const chrome = await RawChrome.start();
  try {
    const page = await chrome.open(siteUrl);
    await page.until(IS_CONNECTED);
    await page.run("addEventListener('pageshow', (event) => (window.wasCached = event.persisted))");
    const atHide = "window.atHide = document.querySelector('#state').dataset.state";
    await page.run(`addEventListener('pagehide', () => (${atHide}))`);
    // Another site, so that the browser surely gives it another process.
    await page.go(siteUrl.replace("127.0.0.1", "localhost").concat("/style.css"));
    await page.until("location.pathname === '/style.css'");

    const other = await openTab();
    await addTodo(other, "While in the cache");
    await page.run("history.back()").catch(() => {}); // the page may be gone before it answers
    await page.until("location.pathname === '/' && document.readyState === 'complete'");
    await page.until(IS_CONNECTED);
    await page.until(hasTodo("While in the cache"));
    assert.equal(await page.run("window.wasCached"), true, "the page was loaded again");
    // Not all browsers keep a page that has an open socket. This one does, and closes the socket.
    assert.equal(await page.run("window.atHide"), "paused");
  } finally {
    await chrome.stop();
  }
});

// --- a Sidekick that is replaced by an older one, and by a newer one again

test("a page keeps working while the Sidekick changes from the npm package's to this one and back", async () => {
  const [mine, theirs] = [sidekick.port, await startReference()];
  try {
    tunnel.target = theirs.port;
    tunnel.cut(); // the app server keeps its connections
    const [page, other] = [await openTab(), await openTab()];
    assert.equal(await isLegacy(page), true);
    await enter(page, "Ann");
    await say(page, "Before");
    await shows(page, "Before");

    let told = 0;
    for (const [port, name] of [
      [mine, "this one"],
      [theirs.port, "the npm one"],
    ] as const) {
      tunnel.target = 0; // both tabs are away, and hear of nothing
      tunnel.cut();
      await shows(page, "Connection lost");
      await addTodo(other, `Before ${name}`);
      tunnel.target = port;
      await shows(page, `Before ${name}`);
      await shows(page, "You are Ann in lobby.");
      assert.equal(await gaps(page), ++told, "the gap was told");
      await say(page, `Through ${name}`);
      await shows(page, `Through ${name}`);
      await addTodo(other, `After ${name}`);
      await shows(page, `After ${name}`);
    }
    assert.equal(await isLegacy(page), true);
  } finally {
    await context.close();
    await theirs.stop();
  }
});

/** The Sidekick inside `@covenant-rpc/server`, which needs Bun. */
async function startReference(): Promise<{ port: number; stop: () => Promise<void> }> {
  const port = await freePort();
  const words = ["tests/bench/reference.ts", String(port), SECRET, `${siteUrl}${covenantPath}`];
  const child = spawn("node_modules/.bin/bun", words, { cwd: root, stdio: "inherit" });
  const isUp = () => fetch(`http://127.0.0.1:${port}/health`).then(Boolean, () => false);
  await eventually(isUp, () => "the npm Sidekick");
  return { port, stop: () => ended(child) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}
