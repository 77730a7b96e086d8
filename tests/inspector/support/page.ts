// The page of the inspector in Chromium, from a file and without a network.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { inspectorPage } from "../../../worker/dist/node/inspector-page.js";

export const root = fileURLToPath(new URL("../../..", import.meta.url));
export const moduleBytes = readFileSync(join(root, "worker/module/sidekick.wasm"));

/** What hides text, or turns it around: no view may contain it. */
export const actedOn = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

/** As `covenant-sidekick-replay --html` writes it. */
export async function pageText(recording?: { name: string; text: string | Buffer }) {
  const parts =
    recording === undefined
      ? {}
      : {
          recording: { name: recording.name, bytes: Readable.from([Buffer.from(recording.text)]) },
        };
  let text = "";
  for await (const piece of inspectorPage({ module: moduleBytes, ...parts })) text += piece;
  return text;
}

export class Inspector {
  readonly #context: BrowserContext;
  readonly page: Page;
  readonly #folder: string;
  /** What the console says, and requests for anything but the page. */
  readonly complaints: string[] = [];

  /** @param origin of a live page; without it the network is off */
  static async open(browser: Browser, folder: string, origin = "file:"): Promise<Inspector> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    await context.setOffline(origin === "file:");
    return new Inspector(context, await context.newPage(), folder, origin);
  }

  private constructor(context: BrowserContext, page: Page, folder: string, origin: string) {
    this.#context = context;
    this.page = page;
    this.#folder = folder;
    context.on("console", (message) =>
      this.complaints.push(`${message.type()}: ${message.text()}`),
    );
    context.on("weberror", (error) => this.complaints.push(String(error.error())));
    context.on("request", (request) => {
      const isAllowed = [origin, "blob:"].some((start) => request.url().startsWith(start));
      if (!isAllowed) this.complaints.push(`request: ${request.url()}`);
    });
  }

  async close(): Promise<void> {
    await this.#context.close();
  }

  /** Shows a recording, and waits until it is loaded. */
  async show(recording: { name: string; text: string | Buffer }, hash = ""): Promise<void> {
    const file = join(this.#folder, "page.html");
    writeFileSync(file, await pageText(recording));
    await this.page.goto("about:blank");
    await this.page.goto(`${pathToFileURL(file)}${hash}`);
    await this.loaded();
  }

  async loaded(): Promise<void> {
    await this.page.locator("#progress").waitFor({ state: "hidden" });
    await this.page.locator(".row .kind:not(:empty)").first().waitFor();
  }

  /** Shows the first lines in each view, and replays. */
  async walk(lines: number): Promise<void> {
    const { page, panel } = this;
    await page.focus("#list");
    await page.keyboard.press("Home");
    for (let line = 1; line <= lines; line++) {
      await page
        .locator(".row.selected .number")
        .getByText(String(line), { exact: true })
        .waitFor();
      for (const [key, shows] of [
        ["1", /^line /],
        ["2", /^after /],
        ["3", /published at|^Select a line that publishes/],
      ] as const) {
        await page.keyboard.press(key);
        await panel.locator(".facts").getByText(shows).first().waitFor();
        await this.assertHarmless();
      }
      await page.keyboard.press("ArrowDown");
    }
    await page.keyboard.press("4");
    await panel.getByText("Replay", { exact: true }).click();
    await panel.locator(".verdict").waitFor();
    await this.assertHarmless();
    await page.keyboard.press("1");
  }

  /** Nothing from the recording was executed, hides a text or turns it around. */
  async assertHarmless(): Promise<void> {
    const { scripts, texts } = await this.page.evaluate(() => {
      const shown = document.querySelectorAll("title, body :not(script)");
      return {
        scripts: document.querySelectorAll("main script, header script, img, iframe").length,
        texts: [...shown].flatMap((element) =>
          [
            ...[...element.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE),
            ...element.attributes,
            ...(element instanceof HTMLInputElement ? [{ nodeValue: element.value }] : []),
          ].map(({ nodeValue }) => nodeValue ?? ""),
        ),
      };
    });
    assert.equal(scripts, 0);
    assert.equal(await this.page.evaluate(() => "owned" in globalThis), false);
    for (const text of texts) assert.doesNotMatch(text.replace(/[\t\n]/g, ""), actedOn);
    assert.deepEqual(this.complaints, []);
  }

  async summary(): Promise<string> {
    return ((await this.page.locator("#summary").textContent()) ?? "").replace(/\s+/g, " ");
  }

  get panel() {
    return this.page.locator("#panel");
  }
}
