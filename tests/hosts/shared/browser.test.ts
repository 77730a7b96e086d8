// The demo in a real browser, two tabs side by side, through a Sidekick in its own process.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { type FetchHandler, toNodeListener } from "../../../worker/demo/http-adapter.js";
import { covenantPath, createSite } from "../../../worker/demo/site.js";
import {
  type SidekickOptions,
  type SidekickProcess,
  startSidekick,
} from "./covenant-support/sidekick-process.js";

const executablePath = "/usr/bin/chromium";
const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const waitMsMax = 120_000; // only ends a test that has failed, on however slow a machine

let http: Server;
let siteUrl: string;
let sidekick: SidekickProcess;
let sidekickOptions: SidekickOptions;
let browser: Browser;
let context: BrowserContext;
let pageErrors: string[];

before(async () => {
  if (!existsSync(executablePath))
    throw new Error(
      `no browser at ${executablePath}: run scripts/setup, or apt-get install chromium`,
    );
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  siteUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const secrets = {
    secret: "sidekick-secret-of-the-tests",
    serverSecret: "server-secret-of-the-tests",
  };
  sidekickOptions = { ...secrets, serverUrl: `${siteUrl}${covenantPath}` };
  sidekick = await startSidekick(sidekickOptions);
  handler = await createSite({
    sidekickUrl: sidekick.url,
    sidekickSecret: secrets.secret,
    serverSecret: secrets.serverSecret,
  });
  browser = await chromium.launch({ executablePath, args, timeout: waitMsMax });
});

after(async () => {
  await browser?.close();
  http?.closeAllConnections();
  http?.close();
  await sidekick?.stop();
});

beforeEach(async () => {
  pageErrors = [];
  context = await browser.newContext();
  context.setDefaultTimeout(waitMsMax);
  context.on("weberror", (error) => pageErrors.push(String(error.error())));
});

afterEach(async () => {
  await context.close();
  assert.deepEqual(pageErrors, []);
});

// --- what a user does and sees ---

async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(siteUrl);
  await page.getByText("Connected", { exact: true }).waitFor();
  await page.getByText("Open this page in a second tab").first().waitFor();
  return page;
}

const todo = (page: Page, text: string): Locator =>
  page.locator("#todos li").filter({ has: page.getByText(text, { exact: true }) });

async function addTodo(page: Page, text: string): Promise<void> {
  await page.getByLabel("New todo").fill(text);
  await page.getByRole("button", { name: "Add" }).click();
}

async function join(page: Page, name: string, room: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Room").fill(room);
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByText(`You are ${name} in ${room}.`).waitFor();
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const heard = (page: Page, text: string): Promise<void> =>
  page.locator("#lines").getByText(text, { exact: true }).waitFor();
const spoken = (page: Page): Promise<string[]> => page.locator("#lines li span").allTextContents();

describe("the demo in two tabs", () => {
  it("shares the todo list: one tab's additions, ticks and deletions show in the other", async () => {
    const [left, right] = [await openTab(), await openTab()];
    await addTodo(left, "Buy milk");
    await todo(right, "Buy milk").waitFor();
    await addTodo(right, "Read the protocol");
    await todo(left, "Read the protocol").waitFor();

    // Not check(), which fails if an earlier answer shows it unchecked once more.
    await todo(right, "Buy milk").getByRole("checkbox").click();
    await todo(left, "Buy milk").locator(".done").waitFor();

    await todo(left, "Buy milk").getByRole("button", { name: "Delete" }).click();
    await todo(right, "Buy milk").waitFor({ state: "detached" });
    await todo(left, "Buy milk").waitFor({ state: "detached" });
    assert.equal(await todo(right, "Read the protocol").count(), 1);
  });

  it("chats both ways, and another room receives nothing", async () => {
    const [left, right, elsewhere] = [await openTab(), await openTab(), await openTab()];
    await join(left, "Ann", "kitchen");
    await join(right, "Bob", "kitchen");
    await join(elsewhere, "Eve", "cellar");
    await say(left, "Is the tea ready?");
    await heard(right, "Is the tea ready?");
    await say(right, "In a minute.");
    await Promise.all([left, right].map((page) => heard(page, "In a minute.")));
    await say(elsewhere, "Hello?");
    await heard(elsewhere, "Hello?");
    assert.deepEqual(await spoken(left), ["Is the tea ready?", "In a minute."]);
    assert.deepEqual(await spoken(right), ["Is the tea ready?", "In a minute."]);
    assert.deepEqual(await spoken(elsewhere), ["Hello?"]);
  });

  it("moves to another room and no longer receives from the old one", async () => {
    const [left, right] = [await openTab(), await openTab()];
    await join(left, "Ann", "attic");
    await join(right, "Bob", "attic");
    await join(left, "Ann", "garden");
    await say(right, "Anybody here?");
    await heard(right, "Anybody here?");
    await say(left, "Out here!");
    await heard(left, "Out here!");
    assert.deepEqual(await spoken(left), ["Out here!"]);
  });

  it("shows typed text as text, never as HTML", async () => {
    const [left, right] = [await openTab(), await openTab()];
    const evil = `<img src=x onerror="document.title='owned'"><b>bold</b>`;
    await addTodo(left, evil);
    await todo(right, evil).waitFor();
    await join(left, "<i>Ann</i>", "lab");
    await join(right, "Bob", "lab");
    await say(left, evil);
    await heard(right, evil);
    assert.equal(await right.locator("#lines b").textContent(), "<i>Ann</i>");
    assert.equal(await right.locator("img, #lines i, #todos b, #lines span b").count(), 0);
    assert.equal(await right.title(), "Sidekick demo");
    await todo(left, evil).getByRole("button", { name: "Delete" }).click();
    await todo(right, evil).waitFor({ state: "detached" });
  });

  it("accepts the next todo while one is in flight, and restores one that failed", async () => {
    const page = await openTab();
    const input = page.getByLabel("New todo");
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const api = `${siteUrl}${covenantPath}**`;
    await page.route(api, async (route) => {
      await held;
      await route.continue();
    });
    await addTodo(page, "One");
    await input.fill("Tw");
    letGo();
    await todo(page, "One").waitFor();
    assert.equal(await input.inputValue(), "Tw");
    await page.unroute(api);

    await page.route(api, (route) => route.abort());
    await addTodo(page, "Lost");
    await page.locator("#todo-error").getByText(/./).waitFor();
    await page.waitForFunction(
      () => document.querySelector<HTMLInputElement>("#todo-text")!.value === "Lost",
    );
    await page.unroute(api);
  });

  it("shows the server's own error to its cause only", async () => {
    const [left, right] = [await openTab(), await openTab()];
    await join(left, "Ann", "lobby");
    await join(right, "Bob", "lobby");
    await say(left, "/dance now");
    await left.getByText("There is no command /dance here.").waitFor();
    await say(left, "sorry");
    await heard(right, "sorry");
    assert.equal(await right.locator("#chat-error").textContent(), "");
    assert.deepEqual(await spoken(right), ["sorry"]);
  });

  it("recovers list and room after a restart of the Sidekick", async () => {
    const [left, right] = [await openTab(), await openTab()];
    await join(left, "Ann", "lobby");
    await join(right, "Bob", "lobby");
    await sidekick.stop();
    for (const page of [left, right])
      await page.getByText("Connection lost", { exact: true }).waitFor();
    sidekick = await startSidekick({ ...sidekickOptions, port: sidekick.port });
    for (const page of [left, right]) {
      await page.getByText("Connected", { exact: true }).waitFor();
      await page.getByText("in lobby.").waitFor();
    }
    await say(right, "That was quick.");
    await heard(left, "That was quick.");
    await addTodo(left, "Survive");
    await todo(right, "Survive").waitFor();
  });
});
