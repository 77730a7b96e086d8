// A Sidekick inside the process, for tests and single-server apps: the same module without HTTP and
// WebSockets. It offers the interface of `@covenant-rpc/server/sidekick/internal` and needs
// `@covenant-rpc/ion`.
import ION from "@covenant-rpc/ion";
import type { Action, Input } from "../module/border.generated.js";
import { Hub, text } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";
import { readDefaultModule } from "../node/default-module.js";

type Params = Record<string, string>;
type MaybePromise<T> = T | Promise<T>;
// biome-ignore lint/suspicious/noExplicitAny: as in `@covenant-rpc/core`: handlers name types.
type Anything = any;

/** The result of an app server's `onMessage`: null, or the error. */
export type ServerCallback = (
  channel: string,
  params: Params,
  data: Anything,
  context: Anything,
) => Promise<{ fault: "client" | "server"; message: string } | null>;

/** Equals `ServerToSidekickConnection` of `@covenant-rpc/core`. */
export interface ConnectionFromServer {
  addConnection(payload: {
    token: string;
    channel: string;
    params: Params;
    context: unknown;
  }): Promise<Error | null>;
  update(resources: string[]): Promise<Error | null>;
  postMessage(message: { channel: string; params: Params; data: unknown }): Promise<Error | null>;
}

/** Equals `ClientToSidekickConnection` of `@covenant-rpc/core`. */
export interface ConnectionFromClient {
  sendMessage(message: object): void;
  // The message is a `SidekickOutgoingMessage`; a handler may name that type.
  onMessage(handler: (message: Anything) => MaybePromise<void>): () => void;
}

type Handler = (message: Anything) => MaybePromise<void>;

/** Test frameworks fake queueMicrotask together with the timers; promises they leave alone. */
function inMicrotask(work: () => void): void {
  void Promise.resolve().then(work);
}

const SECRET = "internal";
const TIMER_MS_MAX = 2 ** 31 - 1;
let defaultModule: WasmModule | undefined;

export class InternalSidekick {
  readonly #hub: Hub;
  readonly #clients = new Map<number, Set<Handler>>();
  readonly #requests = new Map<number, (error: Error | null) => void>();
  #callback: ServerCallback | null = null;
  #nextClient = 1;
  #nextRequest = 1;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param limits by name (docs/protocol.md), for tests that want to reach one
   * @param module default: this package's module, read from its file; a bundle must pass it
   */
  constructor(limits: Readonly<Record<string, number>> = {}, module?: WasmModule) {
    module ??= defaultModule ??= readDefaultModule();
    this.#hub = Hub.create(module, JSON.stringify({ ...limits, secrets: [SECRET] }));
  }

  /** Receives the messages of clients; usually `server.processChannelMessage`. */
  setServerCallback(callback: ServerCallback): void {
    this.#callback = callback;
  }

  getConnectionFromServer(): ConnectionFromServer {
    return {
      addConnection: (payload) => this.#post("/connection", payload),
      update: (resources) => this.#post("/resources", { resources }),
      postMessage: (message) => this.#post("/message", message),
    };
  }

  /** Each call creates a client. */
  getConnectionFromClient(): ConnectionFromClient {
    const client = this.#nextClient++;
    const handlers = new Set<Handler>();
    this.#clients.set(client, handlers);
    this.#apply({ type: "client_opened", client });
    return {
      sendMessage: (message) =>
        this.#apply({ type: "client_frame", client, bytes: ION.stringify(message) }),
      onMessage: (handler) => {
        handlers.add(handler);
        return () => void handlers.delete(handler);
      },
    };
  }

  #post(path: string, payload: object): Promise<Error | null> {
    const request = this.#nextRequest++;
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      const body = new TextEncoder().encode(ION.stringify(payload));
      const authorization = `Bearer ${SECRET}`;
      this.#apply({
        type: "http_request",
        request,
        method: "POST",
        path,
        authorization,
        body_bytes: body.byteLength,
        body,
      });
    });
  }

  // Date rather than the monotonic clock of the Node host: fake timers of test frameworks replace
  // it together with setTimeout.
  #apply(input: Input): void {
    for (const action of this.#hub.handle(Date.now(), input)) this.#perform(action);
  }

  // Delivered in a microtask: a handler may call back at once, which would invalidate the actions'
  // views.
  #perform(action: Action): void {
    switch (action.type) {
      case "send": {
        const message = text(action.text);
        const clients = [...action.clients];
        inMicrotask(() => {
          for (const client of clients) this.#deliver(client, message);
        });
        return;
      }
      case "respond": {
        const error = action.status === 200 ? null : new Error(text(action.body));
        const resolve = this.#requests.get(action.request);
        this.#requests.delete(action.request);
        inMicrotask(() => resolve?.(error));
        return;
      }
      case "forward":
        void this.#forward(action.forward, text(action.body), action.timeout_ms);
        return;
      case "close": {
        const { client } = action;
        inMicrotask(() => {
          this.#clients.delete(client);
          this.#apply({ type: "client_closed", client });
        });
        return;
      }
      case "set_timer":
        this.#setTimer(action.at_ms);
        return;
      case "put_token":
      case "touch_token":
      case "erase_token":
      case "attach_client":
        return; // Nothing outlives the process.
    }
  }

  #deliver(client: number, message: string): void {
    for (const handler of this.#clients.get(client) ?? []) {
      // Parsed for each handler: one handler's changes must not be visible to another. An error in
      // a handler is thrown to its owner.
      void (async () => handler(ION.parse(message)))();
    }
  }

  async #forward(forward: number, body: string, timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<[number, string]>((resolve) => {
      timer = setTimeout(() => resolve([0, ""]), timeoutMs);
    });
    const [status, answer] = await Promise.race([this.#ask(body), timeout]);
    clearTimeout(timer);
    this.#apply({ type: "forward_done", forward, status, body: answer });
  }

  async #ask(body: string): Promise<[status: number, body: string]> {
    // Not before the current actions are performed: the callback may call back at once.
    await Promise.resolve();
    if (this.#callback === null) {
      return [
        400,
        ION.stringify({ fault: "server", message: "Server connection not initialized" }),
      ];
    }
    try {
      const { channel, params, data, context } = ION.parse(body) as {
        channel: string;
        params: Params;
        data: unknown;
        context: unknown;
      };
      const error = await this.#callback(channel, params, data, context);
      if (!error) return [204, ""];
      return [400, ION.stringify({ fault: error.fault, message: error.message })];
    } catch (error) {
      return [
        500,
        ION.stringify({ error: error instanceof Error ? error.message : String(error) }),
      ];
    }
  }

  #setTimer(atMs: number): void {
    clearTimeout(this.#timer);
    if (atMs === 0) return;
    const delay = Math.min(Math.max(atMs - Date.now(), 0), TIMER_MS_MAX);
    this.#timer = setTimeout(() => this.#apply({ type: "timer_fired" }), delay);
    (this.#timer as { unref?: () => void }).unref?.();
  }
}
