// Chromium by its own protocol. Playwright turns the back/forward cache off, and lets pages believe
// that they are seen, so that none of them freezes.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { eventually } from "../../hosts/shared/support/sidekick.ts";

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export class RawChrome {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #lastId = 0;

  static async start(): Promise<RawChrome> {
    const folder = await mkdtemp(join(tmpdir(), "sidekick-chrome-"));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"];
    const ports = ["--remote-debugging-port=0", `--user-data-dir=${folder}`];
    const child = spawn("/usr/bin/chromium", [...flags, ...ports], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let output = "";
      child.stderr!.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        const found = /DevTools listening on (\S+)/.exec(output);
        if (found !== null) resolve(found[1]!);
      });
      child.once("exit", () => reject(new Error(`chromium ended: ${output}`)));
    });
    const socket = new WebSocket(url);
    await once(socket, "open");
    return new RawChrome(child, folder, socket);
  }

  private constructor(child: ChildProcess, folder: string, socket: WebSocket) {
    this.#child = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.on("message", (data: Buffer) => {
      const answer = JSON.parse(data.toString()) as Answer;
      this.#waiting.get(answer.id ?? 0)?.(answer);
    });
  }

  async open(url: string): Promise<RawPage> {
    const { targetId } = await this.call<{ targetId: string }>("Target.createTarget", { url });
    const attach = { targetId, flatten: true };
    const { sessionId } = await this.call<{ sessionId: string }>("Target.attachToTarget", attach);
    return new RawPage(this, sessionId);
  }

  call<T>(method: string, params: object, sessionId?: string): Promise<T> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        this.#waiting.delete(id);
        if (error !== undefined) reject(new Error(`${method}: ${error.message}`));
        else resolve(result as T);
      });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#socket.send(JSON.stringify({ id: ++this.#lastId, method: "Browser.close" }));
    await ended;
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

class RawPage {
  readonly #chrome: RawChrome;
  readonly #session: string;

  constructor(chrome: RawChrome, session: string) {
    this.#chrome = chrome;
    this.#session = session;
  }

  async go(url: string): Promise<void> {
    await this.#chrome.call("Page.navigate", { url }, this.#session);
  }

  async setState(state: "active" | "frozen"): Promise<void> {
    await this.#chrome.call("Page.setWebLifecycleState", { state }, this.#session);
  }

  /** @returns the value of an expression */
  async run(expression: string): Promise<unknown> {
    const params = { expression, returnByValue: true };
    const { result } = await this.#chrome.call<{ result: { value?: unknown } }>(
      ...(["Runtime.evaluate", params, this.#session] as const),
    );
    return result.value;
  }

  /** Resolves once the expression is true; it is asked again while the page changes. */
  async until(expression: string): Promise<void> {
    const isTrue = async () => (await this.run(expression).catch(() => false)) === true;
    await eventually(isTrue, () => expression);
  }
}
