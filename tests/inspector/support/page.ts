// The page of the inspector in Chromium, from a file and without a network.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { inspectorPage } from "../../../worker/dist/node/inspector-page.js";

export const root = fileURLToPath(new URL("../../..", import.meta.url));
export const moduleBytes = readFileSync(join(root, "worker/module/sidekick.wasm"));

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

  async summary(): Promise<string> {
    return ((await this.page.locator("#summary").textContent()) ?? "").replace(/\s+/g, " ");
  }

  get panel() {
    return this.page.locator("#panel");
  }
}
