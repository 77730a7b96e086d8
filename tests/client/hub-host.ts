// The real module on virtual time, in the smallest host: sockets are objects, storage is a map. It
// can crash, with or without its storage, and sleep as a Durable Object does.
import { readFileSync } from "node:fs";
import ION from "@covenant-rpc/ion";

import type {
  AttachClientAction,
  CloseAction,
  EraseTokenAction,
  ForwardAction,
  PutTokenAction,
  RespondAction,
  SendAction,
  SetTimerAction,
  TouchTokenAction,
} from "../../worker/src/module/border.generated.ts";
import { compileModuleSync, Hub, text } from "../../worker/src/module/hub.ts";
import type { Io } from "../../worker/src/session/io.ts";
import type { ForwardResult } from "../../worker/src/session/outcome.ts";
import { forwardDone } from "../../worker/src/session/outcome.ts";
import { Session } from "../../worker/src/session/session.ts";
import type { VirtualTime } from "./virtual-time.ts";

const file = new URL("../../worker/module/sidekick.wasm", import.meta.url);
export const realModule = compileModuleSync(readFileSync(file));

/** The hub's end of a socket. */
export interface HubSocket {
  deliver(text: string): void;
  /** The hub closes it: after what was delivered. */
  close(code: number): void;
}

/** What becomes of a forward: the app server's answer. */
export type AppServer = (body: {
  channel: string;
  params: Record<string, string>;
  data: unknown;
}) => Promise<ForwardResult>;

interface Row {
  key: Uint8Array;
  state: number;
  expires_at: number;
  record: Uint8Array;
}

const SECRET = "secret";
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

export class HubHost implements Io {
  readonly recording = undefined;
  readonly #time: VirtualTime;
  readonly #app: AppServer;
  readonly #module: WebAssembly.Module;
  readonly #config: string;
  readonly #sockets = new Map<number, HubSocket>();
  readonly #records = new Map<number, Uint8Array>();
  readonly #rows = new Map<string, Row>();
  readonly #requests = new Map<number, (status: number) => void>();
  #session: Session;
  #timer: ReturnType<VirtualTime["after"]> | undefined;
  #lastId = 0;
  #forwards = 0;

  constructor(
    time: VirtualTime,
    app: AppServer,
    { module = realModule, limits = {} as Readonly<Record<string, number>> } = {},
  ) {
    this.#time = time;
    this.#app = app;
    this.#module = module;
    this.#config = JSON.stringify({ ...limits, secrets: [SECRET], hash_seed: "0123456789abcdef" });
    this.#session = new Session(this);
  }

  /** @returns the id by which frames come */
  open(socket: HubSocket): number {
    const client = ++this.#lastId;
    this.#sockets.set(client, socket);
    this.#session.apply({ type: "client_opened", client });
    return client;
  }

  frame(client: number, message: string): void {
    if (!this.#sockets.has(client)) return;
    this.#session.apply({ type: "client_frame", client, bytes: message, is_text: 1 });
  }

  /** The peer has closed the socket, or the host gave it up. */
  closed(client: number): void {
    if (!this.#sockets.delete(client)) return;
    this.#records.delete(client);
    this.#session.apply({ type: "client_closed", client });
  }

  /** A POST of the app server. 0: the hub crashed before it answered. */
  post(path: string, payload: object): Promise<number> {
    const request = ++this.#lastId;
    const body = new TextEncoder().encode(ION.stringify(payload));
    return new Promise((resolve) => {
      this.#requests.set(request, resolve);
      this.#session.apply({
        ...{ type: "http_request", request, method: "POST", path, body },
        ...{ authorization: `Bearer ${SECRET}`, headers: "", body_bytes: body.byteLength },
      });
    });
  }

  /** The process dies with all sockets; its tokens are kept or lost. */
  crash(code: number, areTokensKept: boolean): void {
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    this.#records.clear();
    if (!areTokensKept) this.#rows.clear();
    for (const resolve of this.#requests.values()) resolve(0);
    this.#requests.clear();
    this.#session = new Session(this);
    for (const socket of sockets) socket.close(code);
  }

  /**
   * A Durable Object sleeps and wakes: sockets and storage stay, memory goes. One that waits for
   * the app server stays awake.
   */
  sleep(): void {
    if (this.#forwards === 0) this.#session.restart();
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  // --- Io

  createHub = () => Hub.create(this.#module, this.#config);
  now = () => Date.now() - Math.floor(this.#time.wallOffset);

  send({ clients, text: bytes }: SendAction): void {
    const message = text(bytes);
    for (const client of clients) this.#sockets.get(client)?.deliver(message);
  }

  respond({ request, status }: RespondAction): void {
    const resolve = this.#requests.get(request);
    this.#requests.delete(request);
    resolve?.(status);
  }

  forward({ forward, body }: ForwardAction): void {
    const session = this.#session;
    this.#forwards++;
    void this.#app(ION.parse(text(body)) as Parameters<AppServer>[0]).then((result) => {
      this.#forwards--;
      if (session === this.#session) session.apply(forwardDone(forward, result));
    });
  }

  close({ client, code }: CloseAction): void {
    const socket = this.#sockets.get(client);
    this.#sockets.delete(client);
    this.#records.delete(client);
    socket?.close(code);
  }

  set_timer({ at_ms }: SetTimerAction): void {
    if (this.#timer !== undefined) this.#timer.isCancelled = true;
    const session = this.#session;
    if (at_ms === 0) return;
    this.#timer = this.#time.after(at_ms - this.now(), () => {
      if (session === this.#session) session.apply({ type: "timer_fired" });
    });
  }

  put_token({ key, state, expires_at, record }: PutTokenAction): void {
    const row = { key: key.slice(), state, expires_at, record: record.slice() };
    this.#rows.set(hex(key), row);
  }

  touch_token({ key, state, expires_at }: TouchTokenAction): void {
    Object.assign(this.#rows.get(hex(key)) ?? {}, { state, expires_at });
  }

  erase_token({ key }: EraseTokenAction): void {
    this.#rows.delete(hex(key));
  }

  attach_client({ client, append, record }: AttachClientAction): void {
    const before = append === 1 ? (this.#records.get(client) ?? new Uint8Array()) : [];
    this.#records.set(client, Uint8Array.from([...before, ...record]));
  }

  cancel_forward(): void {}
  forgetTokens = () => this.#rows.clear();

  storedTokens = () =>
    [...this.#rows.values()].map((row) => ({ type: "restore_token", ...row }) as const);
  openClients = () =>
    [...this.#sockets.keys()].map((client) => {
      const record = this.#records.get(client) ?? new Uint8Array();
      return { type: "restore_client", client, record } as const;
    });

  /** A bug, which a test must not hide. */
  report(message: string, error: unknown): void {
    throw new Error(message, { cause: error });
  }
}
