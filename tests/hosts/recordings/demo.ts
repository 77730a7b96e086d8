// The demo app in two tabs of a real browser, through one host: a few seconds of two people's
// actions. It checks only what they must have seen for the recording to be useful;
// tests/hosts/shared/browser.test.ts tests the demo.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page } from "playwright-core";
import { chromium } from "playwright-core";
import type { FetchHandler } from "../../../worker/demo/http-adapter.js";
import { toNodeListener } from "../../../worker/demo/http-adapter.js";
import { covenantPath, createSite } from "../../../worker/demo/site.js";
import { eventually, health } from "../cloudflare/support/sidekick.ts";
import { SECRET } from "../shared/support/sidekick.ts";
import type { Host } from "./hosts.ts";
import { serverSecret } from "./hosts.ts";

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
const waitMsMax = 120_000; // only ends a test that has failed

export function launchBrowser(): Promise<Browser> {
  if (!existsSync(executablePath))
    throw new Error(
      `no browser at ${executablePath}: run scripts/setup, or apt-get install chromium`,
    );
  return chromium.launch({ executablePath, args, timeout: waitMsMax });
}

/** Returns the file with the recording. */
export async function recordDemo(browser: Browser, host: Host, folder: string): Promise<string> {
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  const http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const siteUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const live = await host.start({ serverUrl: `${siteUrl}${covenantPath}`, folder });
  // One window each: a background tab is throttled most of the time.
  const contexts = [await browser.newContext(), await browser.newContext()];
  try {
    handler = await createSite({
      sidekickUrl: `http://127.0.0.1:${live.port}`,
      sidekickSecret: SECRET,
      serverSecret,
    });
    const tabs = await Promise.all(
      contexts.map(async (context) => new Tab(await context.newPage())),
    );
    const [left, right] = [tabs[0]!, tabs[1]!];
    for (const tab of tabs) await tab.open(siteUrl);
    await shareTheList(left, right);
    await chat(left, right);
    // until then a tab may still show the previous state
    const again = tabs.map((tab) => tab.page.waitForEvent("websocket"));
    await live.restart();
    await Promise.all(again);
    for (const tab of tabs) await tab.shows("in küche.");
    await live.sleep();
    await right.say("That was quick.");
    await left.hears("That was quick.");
    await right.add("Survived");
    await left.todo("Survived").getByRole("checkbox").click();
    await right.todo("Survived").locator(".done").waitFor();
    await right.page.close();
    await left.say("Alone again.");
    await left.hears("Alone again.");
    // The app server's answer and the closing of a tab come after what is visible.
    await eventually(async () => {
      const { clients, forwards } = await health(live.port);
      return clients === 1 && forwards === 0;
    });
  } finally {
    for (const context of contexts) await context.close();
    http.closeAllConnections();
    http.close();
  }
  return live.stop();
}

export async function shareTheList(left: Tab, right: Tab): Promise<void> {
  const added = ["Buy milk", "Käse, 日本語 and 🧀", `<img src=x onerror="alert(1)">\\`];
  for (const [i, text] of added.entries()) {
    const [one, other] = i % 2 === 0 ? [left, right] : [right, left];
    await one.add(text);
    await other.todo(text).waitFor();
    // Not check(), which fails if an earlier answer shows it unchecked once more.
    await other.todo(text).getByRole("checkbox").click();
    await one.todo(text).locator(".done").waitFor();
  }
  await right.todo(added[0]!).getByRole("button", { name: "Delete" }).click();
  await left.todo(added[0]!).waitFor({ state: "detached" });
}

export async function chat(left: Tab, right: Tab): Promise<void> {
  await left.join("Ann", "attic");
  await right.join("Bob", "küche");
  await left.join("Ann", "küche");
  for (const text of [
    "Is the tea ready? ☕",
    "In a minute.",
    "日本語で — “quoted” \\ and 👩‍👩‍👧",
  ]) {
    await left.say(text);
    await right.hears(text);
    await right.say(`${text} you say?`);
    await left.hears(`${text} you say?`);
  }
  await left.say("/dance now");
  await left.shows("There is no command /dance here.");
  assert.equal(await right.page.locator("#chat-error").textContent(), "");
}

export class Tab {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(waitMsMax);
  }

  async open(url: string): Promise<void> {
    await this.page.goto(url);
    await this.page.getByText("Connected", { exact: true }).waitFor();
    await this.page.getByText("Open this page in a second tab").first().waitFor();
  }

  shows(text: string): Promise<void> {
    return this.page.getByText(text).waitFor();
  }

  todo(text: string) {
    return this.page
      .locator("#todos li")
      .filter({ has: this.page.getByText(text, { exact: true }) });
  }

  async add(text: string): Promise<void> {
    await this.page.getByLabel("New todo").fill(text);
    await this.page.getByRole("button", { name: "Add" }).click();
  }

  async join(name: string, room: string): Promise<void> {
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByLabel("Room").fill(room);
    await this.page.getByRole("button", { name: "Join" }).click();
    await this.shows(`You are ${name} in ${room}.`);
  }

  async say(text: string): Promise<void> {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  hears(text: string): Promise<void> {
    return this.page.locator("#lines").getByText(text, { exact: true }).waitFor();
  }
}
