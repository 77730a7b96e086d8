// Takes the pictures of the documentation, from the real demo in headless Chromium:
//   node --import tsx tests/docs/pictures.ts
// docs/demo.png: two tabs that stay in step. docs/client.png: a tab after an outage.
// docs/inspector.png and docs/inspector-state.png: the inspector with a recording of the demo.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { type FetchHandler, toNodeListener } from "../../worker/demo/http-adapter.js";
import { covenantPath, createSite } from "../../worker/demo/site.js";
import { Tunnel } from "../client/support/tunnel.ts";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import { root, startSidekick } from "../hosts/shared/covenant-support/sidekick-process.js";

const SECRET = "secret-of-the-pictures";
const TAB = { width: 640, height: 430 };
const SCALE = 0.78;
const PAGE = {
  locale: "en-US",
  viewport: { width: Math.ceil(TAB.width / SCALE), height: Math.ceil(TAB.height / SCALE) },
};

/** The demo with a Sidekick of its own. */
async function withDemo(
  use: (siteUrl: string, port: number) => Promise<void>,
  flags: string[] = [],
): Promise<void> {
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  const http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const siteUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const secrets = { secret: SECRET, serverSecret: SECRET };
  const sidekick = await startSidekick({
    ...{ ...secrets, flags, serverUrl: `${siteUrl}${covenantPath}` },
  });
  try {
    handler = await createSite({
      ...{ sidekickUrl: sidekick.url, sidekickSecret: SECRET, serverSecret: SECRET },
    });
    await use(siteUrl, sidekick.port);
  } finally {
    http.closeAllConnections();
    http.close();
    await sidekick.stop();
  }
}

async function visit(page: Page, siteUrl: string): Promise<void> {
  await page.goto(siteUrl);
  await shows(page, "Connected");
}

const shows = (page: Page, text: string): Promise<void> =>
  page.getByText(text, { exact: true }).first().waitFor();

async function enter(page: Page, name: string, room = "lobby"): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Room").fill(room);
  await page.getByRole("button", { name: "Join" }).click();
  await shows(page, `You are ${name} in ${room}.`);
}

async function add(page: Page, text: string): Promise<void> {
  await page.getByLabel("New todo").fill(text);
  await page.getByRole("button", { name: "Add" }).click();
  await shows(page, text);
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await shows(page, text);
}

async function taken(page: Page, path?: string): Promise<Buffer> {
  await page.evaluate(() => scrollTo(0, 0));
  return page.screenshot(path === undefined ? {} : { path });
}

/** Two pictures side by side, in a frame. */
async function pair(left: Buffer, right: Buffer, path: string): Promise<void> {
  const viewport = { width: 2 * TAB.width + 32, height: TAB.height + 20 };
  const page = await browser.newPage({ viewport });
  const images = [left, right].map(
    (png) => `<img src="data:image/png;base64,${png.toString("base64")}">`,
  );
  const style = "margin:10px;display:flex;gap:12px;background:#c9ced3";
  await page.setContent(`<body style="${style}">${images.join("")}`, { waitUntil: "load" });
  await page.screenshot({ path });
}

const browser = await launchBrowser();
try {
  await withDemo(async (siteUrl) => {
    const options = { ...PAGE, deviceScaleFactor: SCALE };
    const [ada, grace] = [await browser.newPage(options), await browser.newPage(options)];
    for (const page of [ada, grace]) await visit(page, siteUrl);
    await enter(ada, "Ada");
    await enter(grace, "Grace");
    await add(ada, "Write the release notes");
    await add(grace, "Try the Worker");
    await shows(ada, "Try the Worker");
    await say(ada, "Hello from the first tab");
    await shows(grace, "Hello from the first tab");
    await say(grace, "Hello from the second");
    await shows(ada, "Hello from the second");
    await pair(await taken(ada), await taken(grace), join(root, "docs/demo.png"));
  });

  await withDemo(async (siteUrl, port) => {
    const tunnel = await Tunnel.start(port);
    const ada = await browser.newPage({ ...PAGE, viewport: { width: 1000, height: 580 } });
    // Only Ada's socket goes through the tunnel: the outage is hers alone.
    await ada.addInitScript(
      ([from, to]) => {
        const Own = window.WebSocket;
        window.WebSocket = class extends Own {
          constructor(url: string | URL) {
            super(String(url).replace(from!, to!));
          }
        };
      },
      [String(port), new URL(tunnel.url).port],
    );
    await visit(ada, siteUrl);
    const joan = await browser.newPage(PAGE);
    await visit(joan, siteUrl);
    await add(ada, "Try the Worker");
    await enter(ada, "Ada");
    await enter(joan, "Joan");
    await say(ada, "I am about to go offline.");

    tunnel.target = 0;
    tunnel.cut();
    await shows(ada, "Connection lost");
    await add(joan, "Write the release notes");
    await say(joan, "Where is everybody?");
    await say(joan, "Lunch is ready.");
    tunnel.target = port;
    await ada.locator(".missed").nth(2).waitFor();
    await taken(ada, join(root, "docs/client.png"));
    tunnel.close();
  });

  const folder = mkdtempSync(join(tmpdir(), "sidekick-pictures-"));
  const recording = join(folder, "live.jsonl");
  await withDemo(
    async (siteUrl) => {
      const [ada, grace, joan, alan] = [
        await browser.newPage(PAGE),
        await browser.newPage(PAGE),
        await browser.newPage(PAGE),
        await browser.newPage(PAGE),
      ];
      for (const page of [ada, grace, joan, alan]) await visit(page, siteUrl);
      await enter(ada, "Ada");
      await enter(grace, "Grace");
      await enter(joan, "Joan");
      await enter(alan, "Alan", "looby");
      await say(ada, "Lunch at noon?");
      await shows(joan, "Lunch at noon?");
      await add(grace, "Book a table");
      await shows(ada, "Book a table");
      await enter(grace, "Grace", "garden");
      await say(joan, "I am in.");
      await shows(ada, "I am in.");
    },
    ["--record", recording],
  );
  const replay = join(root, "worker/dist/node/replay-cli.js");
  const report = join(folder, "report.html");
  writeFileSync(report, execFileSync(process.execPath, [replay, "--html", recording]));
  const page = await browser.newPage({ viewport: { width: 1240, height: 640 } });
  const picture = async (keys: string, path: string): Promise<void> => {
    for (const key of keys.split(" ")) await page.keyboard.press(key);
    await page.waitForTimeout(500); // the list and the panel answer each for itself
    await page.screenshot({ path: join(root, path) });
  };
  await page.goto(pathToFileURL(report).href);
  await page.locator(".row .text:not(:empty)").first().waitFor();
  await page.fill("#filter", "-type:ping");
  await page.focus("#list");
  await picture("End P 3", "docs/inspector.png");
  await page.fill("#filter", "type:unsubscribe");
  await page.locator("#matches").getByText("1 input", { exact: true }).waitFor();
  await page.uncheck("#only");
  await page.focus("#list");
  await picture("Home n 2 d", "docs/inspector-state.png");
  rmSync(folder, { recursive: true });
} finally {
  await browser.close();
}
