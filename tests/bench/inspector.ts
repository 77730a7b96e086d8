// scripts/bench --inspector: the cost of the inspector's page in Chromium: its size, loading a
// large recording, scrolling through a million lines, and growing with live traffic.
import { once } from "node:events";
import {
  createWriteStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { parseArgs } from "node:util";
import type { Browser, CDPSession, Page } from "playwright-core";
import { compileModuleSync, Hub, text } from "../../worker/src/module/hub.js";
import { launchBrowser } from "../hosts/recordings/demo.js";
import { inspectorOf } from "../hosts/shared/support/command.js";
import { run } from "../hosts/shared/support/run.js";
import { request, SECRET } from "../hosts/shared/support/sidekick.js";
import { machine, misuse, progress, runBench, sleep } from "./processes.js";
import { table } from "./tables.js";

const parts = { load, scroll, live };
type Part = keyof typeof parts;
type Row = readonly [what: string, figure: string];

const options = readOptions();
const module = () => readFileSync("worker/module/sidekick.wasm");

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        inspector: { type: "boolean" },
        only: { type: "string", multiple: true },
        minutes: { type: "string", default: "10" },
        list: { type: "boolean", default: false },
      },
    });
    const names = Object.keys(parts);
    const stranger = values.only?.find((name) => !names.includes(name));
    if (stranger !== undefined)
      throw new Error(`--only: expected one of ${names.join(", ")}, got ${stranger}`);
    if (!/^[1-9]\d?$/.test(values.minutes))
      throw new Error(`--minutes: expected 1 to 99, got ${values.minutes}`);
    return {
      parts: (values.only ?? names) as Part[],
      minutes: Number(values.minutes),
      list: values.list,
    };
  } catch (error) {
    misuse(error as Error);
  }
}

async function main(): Promise<void> {
  if (options.list) return console.log(Object.keys(parts).join("\n"));
  const folder = mkdtempSync(join(tmpdir(), "sidekick-bench-inspector-"));
  const browser = await launchBrowser();
  try {
    const rows: Row[] = [["page without a recording", `${kB(Buffer.byteLength(await page()))}`]];
    for (const part of options.parts) rows.push(...(await parts[part](browser, folder)));
    console.log(`\`scripts/bench ${process.argv.slice(2).join(" ")}\` on ${machine()}\n`);
    console.log(table([`Chromium ${browser.version()}`, "figure"], rows));
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true });
  }
}

async function page(): Promise<string> {
  // --list works without a build.
  const { inspectorPage } = await import("../../worker/dist/node/inspector-page.js");
  let all = "";
  for await (const piece of inspectorPage({ module: module() })) all += piece;
  return all;
}

const kB = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;
const MB = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** The only window of the browser that is busy. */
class Window {
  private constructor(
    readonly page: Page,
    private readonly browser: CDPSession,
  ) {}

  static async open(browser: Browser): Promise<Window> {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    return new Window(page, await browser.newBrowserCDPSession());
  }

  /** Of all threads of all renderers, in ms: Chromium keeps an idle one in reserve. */
  async cpu(): Promise<number> {
    return (await this.renderers()).reduce((sum, { cpuTime }) => sum + cpuTime * 1000, 0);
  }

  /** Resident bytes of the largest renderer. */
  async memory(): Promise<number> {
    const sizes = (await this.renderers()).map(({ id }) => {
      const status = readFileSync(`/proc/${id}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
    });
    return Math.max(...sizes);
  }

  private async renderers() {
    const { processInfo } = await this.browser.send("SystemInfo.getProcessInfo");
    return processInfo.filter(({ type }) => type === "renderer");
  }
}

/** Opens a file in the page. Returns the time until all is there. */
async function open(window: Window, folder: string, file: string): Promise<number> {
  writeFileSync(join(folder, "page.html"), await page());
  await window.page.goto(`file://${join(folder, "page.html")}`);
  const chooser = window.page.waitForEvent("filechooser");
  await window.page.getByText("Open…", { exact: true }).click();
  const from = performance.now();
  await (await chooser).setFiles(file);
  await window.page.locator("#summary b").waitFor();
  await window.page.locator("#progress").waitFor({ state: "hidden", timeout: 300_000 });
  await window.page.locator(".row .kind:not(:empty)").first().waitFor();
  return performance.now() - from;
}

// --- loading ---

const CLIENTS = 1000;

/** A recording of clients that subscribe, and of messages to ten of them each. */
async function record(file: string, bytesMax: number): Promise<void> {
  const config = { hash_seed: "0123456789abcdef", secrets: [SECRET] };
  const hub = Hub.create(compileModuleSync(module()), JSON.stringify(config));
  const out = createWriteStream(file);
  out.write(`${text(hub.describe())}\n`);
  hub.record(true);
  let now = 1_790_000_000_000;
  let requests = 0;
  const post = (path: string, body: object): void => {
    const bytes = JSON.stringify(body);
    hub.handle(now, {
      ...{ type: "http_request", request: ++requests, body_bytes: bytes.length, method: "POST" },
      ...{ path, authorization: `Bearer ${SECRET}`, body: bytes, headers: "" },
    });
  };
  hub.handle(now, { type: "begin", epoch: 1 });
  hub.handle(now, { type: "restored" });
  for (let client = 1; client <= CLIENTS; client++) {
    const [token, params] = [`token-${client}`, { room: String(client % 100) }];
    hub.handle(now, { type: "client_opened", client });
    post("/connection", { token, channel: "chat", params });
    const bytes = JSON.stringify({ type: "subscribe", token });
    hub.handle(now, { type: "client_frame", client, bytes, is_text: 1 });
  }
  for (let bytes = 0; bytes < bytesMax; ) {
    now += 3;
    const params = { room: String(requests % 100) };
    post("/message", { channel: "chat", params, data: { text: "What a nice day.".repeat(3) } });
    const lines = Buffer.from(hub.recorded());
    bytes += lines.length;
    if (!out.write(lines)) await once(out, "drain");
  }
  await finished(out.end());
}

async function load(browser: Browser, folder: string): Promise<Row[]> {
  progress("recording 100 MB");
  const file = join(folder, "large.jsonl");
  await record(file, 100e6);
  progress("loading it");
  const window = await Window.open(browser);
  const [cpu, memory] = [await window.cpu(), await window.memory()];
  const time = await open(window, folder, file);
  const { size } = statSync(file);
  const rows: Row[] = [
    [`load ${MB(size)}: time`, seconds(time)],
    [`load ${MB(size)}: CPU of all threads`, seconds((await window.cpu()) - cpu)],
    [`load ${MB(size)}: memory`, MB((await window.memory()) - memory)],
  ];
  await window.page.close();
  return rows;
}

// --- scrolling ---

const LINES = 1_000_000;
const FRAMES = 300;

async function scroll(browser: Browser, folder: string): Promise<Row[]> {
  progress("scrolling");
  const file = join(folder, "long.jsonl");
  const header = readFileSync("tests/core/traces/tokens.jsonl", "utf8").split("\n")[0]!;
  const frame = '"client":1,"bytes":"{\\"type\\":\\"ping\\"}","is_text":1}\n';
  writeFileSync(file, `${header}\n${`{"in":"client_frame","now":1,${frame}`.repeat(LINES)}`);
  const window = await Window.open(browser);
  await open(window, folder, file);
  const rows: Row[] = [];
  for (const [name, step] of [
    ["by the wheel", 220],
    ["by the scroll bar", 20_000],
  ] as const) {
    const cpu = await window.cpu();
    const times = await window.page.evaluate(scrolled, { step, frames: FRAMES });
    const perFrame = ((await window.cpu()) - cpu) / FRAMES;
    times.sort((a, b) => a - b);
    const at = (share: number): string =>
      `${times[Math.floor(times.length * share)]!.toFixed(1)} ms`;
    rows.push([
      `a million lines, ${name}: frame p50, p99; CPU`,
      `${at(0.5)}, ${at(0.99)}; ${perFrame.toFixed(1)} ms`,
    ]);
  }
  await window.page.close();
  return rows;
}

/** In the page: scrolls in each frame. Returns the times between frames. */
async function scrolled({ step, frames }: { step: number; frames: number }): Promise<number[]> {
  const list = document.getElementById("list")!;
  const times: number[] = [];
  let last = await new Promise<number>(requestAnimationFrame);
  for (let count = 0; count < frames; count++) {
    list.scrollTop += step;
    const now = await new Promise<number>(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}

// --- live ---

const PUBLISHES_PER_SECOND = 100;

async function live(browser: Browser): Promise<Row[]> {
  const flags = ["--port", "0", "--host", "127.0.0.1", "--secret", SECRET, "--inspect", "0"];
  const sidekick = run(flags);
  try {
    const port = await sidekick.port();
    const window = await Window.open(browser);
    await window.page.goto(inspectorOf(sidekick.output())!);
    await window.page.locator(".row .kind:not(:empty)").first().waitFor();
    const [cpu, memory, from] = [await window.cpu(), await window.memory(), performance.now()];
    const until = from + options.minutes * 60_000;
    const body = JSON.stringify({ channel: "chat", params: { room: "1" }, data: "hello" });
    for (let told = 0, sent = 0; performance.now() < until; sent++) {
      await request(port, "/message", body);
      const wait = from + (sent * 1000) / PUBLISHES_PER_SECOND - performance.now();
      if (wait > 0) await sleep(wait);
      const minute = Math.floor((performance.now() - from) / 60_000);
      if (minute === told) continue;
      told = minute;
      progress(`live: minute ${minute} of ${options.minutes}, ${MB(await window.memory())}`);
    }
    const shown = (await window.page.locator("#summary").textContent()) ?? "";
    const lines = /([\d,]+) lines/.exec(shown)![1]!;
    const share = ((await window.cpu()) - cpu) / (performance.now() - from);
    return [
      [`live, ${options.minutes} min: lines`, lines],
      [
        `live, ${options.minutes} min: CPU of all threads`,
        `${(share * 100).toFixed(0)} % of a core`,
      ],
      [
        `live, ${options.minutes} min: memory`,
        `${MB(memory)} at first, ${MB(await window.memory())}`,
      ],
    ];
  } finally {
    sidekick.kill("SIGKILL");
    await sidekick.exit;
  }
}

runBench(main);
