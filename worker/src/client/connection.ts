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
import type { HubClock } from "./hub-clock.js";
import { isHidden, watchPage } from "./page.js";
import type { Settings, SidekickOptions, Socket, State, StateName } from "./types.js";

const NORMAL = 1000;
const WAKE_MS = 200;
const HIDDEN_EXTRA_MS = 10_000;

export interface Owner {
  /** The socket is open. */
  greet(): void;
  receive(data: unknown): void;
  ping(): void;
  /** The socket is gone; the state changes next. */
  onAbandon(code: number): void;
  onState(state: State): void;
  /** The page is seen. */
  onSeen(): void;
}

export class Connection {
  state: State = { name: "idle" };
  /** The class of sockets. Undefined: there is none here, or none is wanted. */
  readonly #Socket: SidekickOptions["WebSocket"];
  readonly #url: string;
  readonly #settings: Settings;
  readonly #hub: HubClock;
  readonly #owner: Owner;
  readonly #heartbeat: Heartbeat;
  #socket: Socket | undefined;
  /** Limits the opening, or ends the wait. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stable: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #isWoken = false;
  #unwatch: (() => void) | undefined;

  constructor(url: string, options: Settings & SidekickOptions, hub: HubClock, owner: Owner) {
    this.#url = url;
    this.#settings = options;
    this.#hub = hub;
    this.#owner = owner;
    this.#heartbeat = new Heartbeat(
      options,
      () => owner.ping(),
      () => this.#retry("no sign of life", ABNORMAL),
    );
    const here = options.WebSocket ?? (globalThis as Pick<SidekickOptions, "WebSocket">).WebSocket;
    if (options.enabled === false) this.state = { name: "closed", reason: "not enabled" };
    else if (here === undefined)
      this.state = { name: "closed", reason: "no WebSocket here: pass the option `WebSocket`" };
    else {
      this.#Socket = here;
      this.#watch();
    }
  }

  /** Whether there can be a socket. */
  get isPossible(): boolean {
    return this.#Socket !== undefined;
  }

  get isLive(): boolean {
    return this.state.name === "live";
  }

  connect(): void {
    if (this.#is("idle", "closed")) this.#open();
  }

  /** The app came to the front, or the network is back. */
  wake(): void {
    if (this.isLive) this.probe();
    else if (this.#is("paused")) this.#open();
    else if (this.#is("waiting") && !this.#isWoken) {
      this.#isWoken = true;
      this.#after(jitter(WAKE_MS), () => this.#open());
    }
  }

  /** The answer to hello came. */
  accept(isLegacy: boolean): void {
    if (!this.#is("greeting")) return;
    clearTimeout(this.#timer);
    this.#stable = setTimeout(() => (this.#attempt = 0), this.#settings.stableMs);
    this.#heartbeat.start();
    this.#become({ name: "live", legacy: isLegacy });
  }

  disconnect(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    if (this.#is("closed")) return;
    this.#abandon(NORMAL);
    this.#become({ name: "closed", reason: "disconnect() was called" });
  }

  write(text: string): void {
    try {
      this.#socket?.send(text);
    } catch {
      // It is closing: its close event comes.
    }
  }

  /** Is the socket dead? */
  probe(): void {
    if (this.isLive) this.#heartbeat.probe(this.#settings.probeMs);
  }

  /** The same, unless a frame came just now. */
  suspect(): void {
    if (this.isLive) this.#heartbeat.suspect();
  }

  #open(): void {
    if (this.#Socket === undefined) return;
    this.#watch();
    let socket: Socket;
    try {
      socket = new this.#Socket(this.#url);
    } catch (error) {
      return this.#retry(String(error), ABNORMAL);
    }
    this.#socket = socket;
    socket.onopen = () => {
      this.#owner.greet();
      this.#become({ name: "greeting" });
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#heartbeat.onFrame();
      this.#owner.receive(data);
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.#retry(reason || `the socket closed with code ${code}`, code);
    socket.onerror = () => this.#retry("the socket failed", ABNORMAL);
    const { openMs } = this.#settings;
    this.#after(openMs, () => this.#retry(`no answer within ${openMs} ms`, ABNORMAL));
    this.#become({ name: "connecting" });
  }

  #retry(reason: string, code: number): void {
    const extraMs = isHidden() && !this.isLive ? HIDDEN_EXTRA_MS : 0;
    this.#abandon(code);
    const delay = extraMs + reconnectMs(this.#settings, this.#attempt++, code, this.#hub.spreadMs);
    this.#isWoken = false;
    this.#after(delay, () => this.#open());
    const [attempt, retryAt] = [this.#attempt, Date.now() + delay];
    this.#become({ name: "waiting", reason, code, attempt, retryAt });
  }

  #abandon(code: number): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#stable);
    this.#heartbeat.stop();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    // Before `close`: a late event of this socket must not end the next one.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // the package `ws` throws where nobody listens
    try {
      socket.close(NORMAL);
    } catch {
      // React Native, where it was never open.
    }
    this.#owner.onAbandon(code);
  }

  #watch(): void {
    this.#unwatch ??= watchPage({
      wake: () => {
        if (!isHidden()) this.#owner.onSeen();
        this.wake();
      },
      suspect: () => this.probe(),
      pause: () => {
        if (this.#is("idle", "closed")) return;
        this.#abandon(NORMAL);
        this.#become({ name: "paused", reason: "the page is in the back/forward cache" });
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
    this.#owner.onState(state);
  }
}
