// Takes the pictures of the documentation, from the real demo in headless Chromium:
//   node --import tsx tests/docs/pictures.ts
// docs/demo.png: two tabs that stay in step. docs/client.png: a tab after an outage.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { BrowserContextOptions, Page } from "playwright-core";
import { type FetchHandler, toNodeListener } from "../../worker/demo/http-adapter.js";
import { covenantPath, createSite } from "../../worker/demo/site.js";
import { Tunnel } from "../client/support/tunnel.ts";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import { root, startSidekick } from "../hosts/shared/covenant-support/sidekick-process.js";

const SECRET = "secret-of-the-pictures";
const TAB = { width: 640, height: 440 };

/** The demo on its own Sidekick, whose connections to the page `tunnel` can break. */
async function withDemo(use: (siteUrl: string, tunnel: Tunnel) => Promise<void>): Promise<void> {
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  const http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const siteUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const secrets = { secret: SECRET, serverSecret: SECRET };
  const sidekick = await startSidekick({ ...secrets, serverUrl: `${siteUrl}${covenantPath}` });
  const tunnel = await Tunnel.start(sidekick.port);
  try {
    handler = await createSite({
      ...{ sidekickUrl: tunnel.url, sidekickSecret: SECRET, serverSecret: SECRET },
    });
    await use(siteUrl, tunnel);
  } finally {
    http.closeAllConnections();
    http.close();
    tunnel.close();
    await sidekick.stop();
  }
}

async function open(siteUrl: string, options: BrowserContextOptions): Promise<Page> {
  const page = await browser.newPage({ ...options, locale: "en-US" });
  await page.goto(siteUrl);
  await shows(page, "Connected");
  return page;
}

const shows = (page: Page, text: string): Promise<void> =>
  page.getByText(text, { exact: true }).first().waitFor();

async function enter(page: Page, name: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join" }).click();
  await shows(page, `You are ${name} in lobby.`);
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
    const ada = await open(siteUrl, { viewport: TAB });
    const grace = await open(siteUrl, { viewport: TAB });
    await enter(ada, "Ada");
    await enter(grace, "Grace");
    await add(ada, "Write the release notes");
    await add(grace, "Try the Worker");
    await shows(ada, "Try the Worker");
    await say(ada, "Hello from the first tab");
    await shows(grace, "Hello from the first tab");
    await say(grace, "Hello from the second");
    await shows(ada, "Hello from the second");
    await pair(await ada.screenshot(), await grace.screenshot(), join(root, "docs/demo.png"));
  });

  await withDemo(async (siteUrl, tunnel) => {
    const ada = await open(siteUrl, { viewport: { width: 1000, height: 580 } });
    await add(ada, "Try the Worker");
    await enter(ada, "Ada");
    await say(ada, "I am about to go offline.");
    // The outage is Ada's alone.
    const { port } = new URL(tunnel.url);
    const joan = await browser.newPage();
    await joan.addInitScript(
      ([from, to]) => {
        const Own = window.WebSocket;
        window.WebSocket = class extends Own {
          constructor(url: string) {
            super(url.replace(from!, to!));
          }
        };
      },
      [port, String(tunnel.target)],
    );
    await joan.goto(siteUrl);
    await shows(joan, "Connected");
    await enter(joan, "Joan");
    const target = tunnel.target;
    tunnel.target = 0;
    tunnel.cut();
    await shows(ada, "Connection lost");
    await add(joan, "Write the release notes");
    await say(joan, "Where is everybody?");
    await say(joan, "Lunch is ready.");
    tunnel.target = target;
    await shows(ada, "Lunch is ready.");
    await shows(ada, "Write the release notes");
    await ada.locator(".missed").nth(2).waitFor();
    await ada.screenshot({ path: join(root, "docs/client.png") });
  });
} finally {
  await browser.close();
}
