// A Sidekick inside the process, for tests and single-server apps: the same module without HTTP and
// WebSockets. It offers the interface of `@covenant-rpc/server/sidekick/internal` and needs
// `@covenant-rpc/ion`.
import ION from "@covenant-rpc/ion";
import type {
  CloseAction,
  ForwardAction,
  RespondAction,
  SendAction,
  SetTimerAction,
} from "../module/border.generated.js";
import { Hub, text } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";
import { readDefaultModule } from "../node/default-module.js";
import type { Io } from "../session/io.js";
import type { ForwardResult } from "../session/outcome.js";
import { forwardDone } from "../session/outcome.js";
import { Session } from "../session/session.js";

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
  /** `CovenantClient.disconnect()` calls it. */
  disconnect(): void;
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
  readonly #io: InternalIo;

  /**
   * @param limits by name (docs/protocol.md), for tests that want to reach one
   * @param module default: this package's module, read from its file; a bundle must pass it
   */
  constructor(limits: Readonly<Record<string, number>> = {}, module?: WasmModule) {
    module ??= defaultModule ??= readDefaultModule();
    this.#io = new InternalIo(module, limits);
  }

  /** Receives the messages of clients; usually `server.processChannelMessage`. */
  setServerCallback(callback: ServerCallback): void {
    this.#io.callback = callback;
  }

  getConnectionFromServer(): ConnectionFromServer {
    return {
      addConnection: (payload) => this.#io.post("/connection", payload),
      update: (resources) => this.#io.post("/resources", { resources }),
      postMessage: (message) => this.#io.post("/message", message),
    };
  }

  /** Each call creates a client. */
  getConnectionFromClient(): ConnectionFromClient {
    const [client, handlers] = this.#io.open();
    return {
      sendMessage: (message) =>
        this.#io.session.apply({
          type: "client_frame",
          client,
          bytes: ION.stringify(message),
          is_text: 1,
        }),
      onMessage: (handler) => {
        handlers.add(handler);
        return () => void handlers.delete(handler);
      },
      disconnect: () => this.#io.leave(client),
    };
  }
}

/** Delivers in microtasks: a handler or callback may call back at once. */
class InternalIo implements Io {
  readonly createHub: () => Hub;
  readonly session: Session;
  readonly recording = undefined;
  callback: ServerCallback | null = null;
  readonly #clients = new Map<number, Set<Handler>>();
  readonly #requests = new Map<number, (error: Error | null) => void>();
  #lastId = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(module: WasmModule, limits: Readonly<Record<string, number>>) {
    const config = JSON.stringify({ ...limits, secrets: [SECRET] });
    this.createHub = () => Hub.create(module, config);
    this.session = new Session(this);
  }

  open(): [client: number, handlers: Set<Handler>] {
    const client = ++this.#lastId;
    const handlers = new Set<Handler>();
    this.session.apply({ type: "client_opened", client });
    this.#clients.set(client, handlers);
    return [client, handlers];
  }

  leave(client: number): void {
    if (this.#clients.delete(client)) this.session.apply({ type: "client_closed", client });
  }

  post(path: string, payload: object): Promise<Error | null> {
    const request = ++this.#lastId;
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      const body = new TextEncoder().encode(ION.stringify(payload));
      this.session.apply({
        type: "http_request",
        request,
        method: "POST",
        path,
        authorization: `Bearer ${SECRET}`,
        headers: "",
        body_bytes: body.byteLength,
        body,
      });
    });
  }

  // Date rather than a monotonic clock: fake timers of test frameworks replace it together with
  // setTimeout.
  now(): number {
    return Date.now();
  }

  send({ clients, text: bytes }: SendAction): void {
    const message = text(bytes);
    const receivers = [...clients];
    inMicrotask(() => {
      for (const client of receivers) this.#deliver(client, message);
    });
  }

  respond({ request, status, body }: RespondAction): void {
    const error = status === 200 ? null : new Error(text(body));
    const resolve = this.#requests.get(request);
    this.#requests.delete(request);
    inMicrotask(() => resolve?.(error));
  }

  forward({ forward, body }: ForwardAction): void {
    void this.#ask(text(body)).then((result) => this.session.apply(forwardDone(forward, result)));
  }

  close({ client }: CloseAction): void {
    inMicrotask(() => this.#clients.delete(client));
  }

  set_timer({ at_ms }: SetTimerAction): void {
    clearTimeout(this.#timer);
    if (at_ms === 0) return;
    const delay = Math.min(Math.max(at_ms - Date.now(), 0), TIMER_MS_MAX);
    this.#timer = setTimeout(() => this.session.apply({ type: "timer_fired" }), delay);
    (this.#timer as { unref?: () => void }).unref?.();
  }

  /** A bug, which a test must not hide. */
  report(message: string, error: unknown): void {
    throw new Error(message, { cause: error });
  }

  // Nothing outlives the process, and the callback cannot be interrupted.
  put_token(): void {}
  touch_token(): void {}
  erase_token(): void {}
  attach_client(): void {}
  cancel_forward(): void {}
  forgetTokens(): void {}
  storedTokens = () => [];
  openClients = () => [];

  #deliver(client: number, message: string): void {
    for (const handler of this.#clients.get(client) ?? []) {
      // Parsed for each handler: one handler's changes must not be visible to another. An error in
      // a handler is thrown to its owner.
      void (async () => handler(ION.parse(message)))();
    }
  }

  async #ask(body: string): Promise<ForwardResult> {
    const answered = (status: number, value?: object): ForwardResult => ({
      outcome: "answered",
      status,
      body: new TextEncoder().encode(value && ION.stringify(value)),
    });
    await Promise.resolve();
    if (this.callback === null)
      return answered(400, { fault: "server", message: "Server connection not initialized" });
    try {
      const { channel, params, data, context } = ION.parse(body) as {
        channel: string;
        params: Params;
        data: unknown;
        context: unknown;
      };
      const error = await this.callback(channel, params, data, context);
      return error ? answered(400, { fault: error.fault, message: error.message }) : answered(204);
    } catch (error) {
      return answered(500, { error: error instanceof Error ? error.message : String(error) });
    }
  }
}
