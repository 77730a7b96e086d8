// The state machine of the socket. It opens one socket at a time, and tries again until it is told
// to stop. It never reads a message.
//
//   state       it waits for                  and then
//   idle        a message, or `connect()`     connecting
//   connecting  the socket's open             greeting: hello is sent, and nothing else
//   greeting    the answer to hello           live
//   live        the socket's end              waiting
//   waiting     the backoff, or `wake()`      connecting
//   paused      the page, out of its cache    connecting
//   closed      a message, or `connect()`     connecting
//
// A socket that fails, or takes `openMs` to become live, leads to waiting as well. `disconnect()`
// leads to closed from everywhere.
import { ABNORMAL, jitter, reconnectMs } from "./backoff.js";
import { Heartbeat } from "./heartbeat.js";
import { moment, since } from "./hub-clock.js";
import { isHidden, watchPage } from "./page.js";
import type { Settings, SidekickOptions, Socket, State, StateName } from "./types.js";

const NORMAL = 1000;
const WAKE_MS = 200;
const HIDDEN_EXTRA_MS = 10_000;

export abstract class Connection {
  state: State = { name: "idle" };
  readonly options: Settings & SidekickOptions;
  /** Undefined: this runtime has no WebSocket, or `enabled` is false. */
  readonly #Socket: SidekickOptions["WebSocket"];
  readonly #url: string;
  readonly heartbeat: Heartbeat;
  #socket: Socket | undefined;
  /** Limits the opening, or ends the wait. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #liveSince = moment();
  #unwatch: (() => void) | undefined;

  constructor(url: string, options: Settings & SidekickOptions) {
    this.#url = url;
    this.options = options;
    this.heartbeat = new Heartbeat(
      options,
      () => this.requests.ping(),
      () => this.retry("ping timeout"),
    );
    const here = options.WebSocket ?? (globalThis as Pick<SidekickOptions, "WebSocket">).WebSocket;
    if (options.enabled === false) this.state = { name: "closed", reason: "not enabled" };
    else if (!here) this.state = { name: "closed", reason: "no global WebSocket" };
    else {
      this.#Socket = here;
      this.#watch();
    }
  }

  /** The socket is open. */
  protected abstract greet(): void;
  protected abstract receive(data: unknown): void;
  /** The socket is gone; the state changes next. */
  protected abstract onAbandon(code: number): void;
  protected abstract onState(state: State): void;
  /** The page is visible. */
  protected abstract onSeen(): void;
  abstract readonly hub: { readonly spreadMs: number };
  abstract readonly requests: { ping(): void };

  /** Whether there can be a socket. */
  get isPossible(): boolean {
    return !!this.#Socket;
  }

  get isLive(): boolean {
    return this.state.name === "live";
  }

  connect(): void {
    if (this.#is("idle", "closed")) this.#open();
  }

  /** The app came to the foreground, or the network is back. */
  wake(): void {
    this.heartbeat.probe();
    if (this.#is("paused")) this.#open();
    else if (this.#is("waiting")) this.#after(jitter(WAKE_MS), () => this.#open());
  }

  /** The answer to hello came. */
  accept(isLegacy: boolean): void {
    clearTimeout(this.#timer);
    this.#liveSince = moment();
    this.heartbeat.start();
    this.#become({ name: "live", legacy: isLegacy });
  }

  disconnect(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    if (this.#is("closed")) return;
    this.#abandon(NORMAL);
    this.#become({ name: "closed", reason: "disconnect()" });
  }

  write(text: string): void {
    this.#socket?.send(text);
  }

  #open(): void {
    if (!this.#Socket) return;
    this.#watch();
    let socket: Socket;
    try {
      socket = new this.#Socket(this.#url);
    } catch (error) {
      return this.retry(String(error));
    }
    this.#socket = socket;
    socket.onopen = () => {
      this.greet();
      this.#become({ name: "greeting" });
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.heartbeat.onFrame();
      this.receive(data);
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.retry(reason || `closed with ${code}`, code);
    socket.onerror = () => this.retry("the socket failed");
    const { openMs } = this.options;
    this.#after(openMs, () => this.retry(`no answer within ${openMs} ms`));
    this.#become({ name: "connecting" });
  }

  /** This socket is of no use. */
  retry(reason: string, code = ABNORMAL): void {
    const extraMs = isHidden() && !this.isLive ? HIDDEN_EXTRA_MS : 0;
    // Not at open: a Sidekick that drops each connection at once would see no backoff.
    if (this.isLive && since(this.#liveSince) >= this.options.stableMs) this.#attempt = 0;
    this.#abandon(code);
    const delay = extraMs + reconnectMs(this.options, this.#attempt++, code, this.hub.spreadMs);
    this.#after(delay, () => this.#open());
    const retryAt = Date.now() + delay;
    this.#become({ name: "waiting", reason, code, attempt: this.#attempt, retryAt });
  }

  #abandon(code: number): void {
    clearTimeout(this.#timer);
    this.heartbeat.stop();
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    // Before `close`: a late event of this socket must not end the next one.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // the package `ws` throws without a listener
    socket.close(NORMAL);
    this.onAbandon(code);
  }

  #watch(): void {
    this.#unwatch ??= watchPage({
      wake: () => {
        if (!isHidden()) this.onSeen();
        this.wake();
      },
      suspect: () => this.heartbeat.probe(),
      pause: () => {
        if (this.#is("idle", "closed")) return;
        this.#abandon(NORMAL);
        this.#become({ name: "paused", reason: "the page is cached" });
      },
    });
  }

  #is(...names: StateName[]): boolean {
    return names.includes(this.state.name);
  }

  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #become(state: State): void {
    this.state = state;
    this.onState(state);
  }
}
