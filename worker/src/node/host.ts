// Performs the hub's actions with sockets, exchanges and forwards, and passes their events to the
// session. Owns the clients' sockets, the stored records, the timer and the pings.

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { EngineTaker, Redis } from "../engine/redis.js";
import type * as border from "../module/border.generated.js";
import {
  ERROR_CODES,
  FORWARD_TIMEOUT_EXTRA_MS,
  HOST_FAMILIES,
} from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { text } from "../module/hub.js";
import { levelOf } from "../session/error-level.js";
import type { HostValues } from "../session/families.js";
import { Histogram } from "../session/histogram.js";
import type { Io, Recording } from "../session/io.js";
import { forwardDone, unanswered } from "../session/outcome.js";
import { Session } from "../session/session.js";
import type { ClientSocket, SocketTaker } from "./client-socket.js";
import { now } from "./clock.js";
import type { Forward, Forwarder } from "./forwarder.js";
import { Batch, PING_FRAME, textFrame } from "./frames.js";
import { HttpExchanges } from "./http-exchanges.js";
import type { Log } from "./log.js";
import { HOW_TO_RECORD } from "./recorder.js";
import { Unsent } from "./unsent.js";

export interface ClosableRecording extends Recording {
  close(): Promise<void>;
}

export interface HostOptions {
  readonly createHub: () => HubLike;
  readonly createForwarder: (limits: border.Limits) => Forwarder | undefined;
  readonly createRecorder: (session: Session) => ClosableRecording | undefined;
  readonly createEngine: (limits: border.Limits, taker: EngineTaker) => Redis | undefined;
  readonly log: Log;
  readonly pingSeconds: number;
}

/** Kept for the hub that replaces this one after a trap. Bytes in a Latin-1 string are compact. */
interface StoredToken {
  state: number;
  expires_at: number;
  readonly record: string;
}

const SILENT_ROUNDS_MAX = 2;
/** Redis has only one. */
const ENGINE_SHARD = 0;
const TIMER_MS_MAX = 2 ** 31 - 1;
const TICK_MS = 1000;

export class Host implements Io, SocketTaker, EngineTaker {
  readonly session: Session;
  readonly forwarder: Forwarder | undefined;
  readonly exchanges: HttpExchanges;
  readonly unsent = new Unsent();
  readonly recording: ClosableRecording | undefined;
  readonly howToRecord = HOW_TO_RECORD;
  readonly engine: Redis | undefined;
  readonly #createHub: () => HubLike;
  readonly #log: Log;
  readonly #clients = new Map<number, ClientSocket>();
  readonly #tokens = new Map<string, StoredToken>();
  readonly #forwards = new Map<number, Forward>();
  readonly #pingSeconds: number;
  readonly #ticks: NodeJS.Timeout;
  #tickDueAt: number;
  readonly #loopLag = new Histogram(HOST_FAMILIES.sidekick_host_loop_lag_seconds.buckets);
  #pingTick = 0;
  #nextClient = 1;
  #timer: NodeJS.Timeout | undefined;
  #unflushed: ClientSocket[] = [];
  #turn = Batch.start();
  #turnBytes = 0;
  /** Events of sockets that wait for the next turn. */
  #held: (() => void)[] | undefined;
  #warnedOfNoServer = false;
  #dropped = 0;

  /** @throws ConfigError */
  constructor(options: HostOptions) {
    this.#log = options.log;
    this.#createHub = options.createHub;
    this.#pingSeconds = options.pingSeconds;
    this.session = new Session(this);
    this.forwarder = options.createForwarder(this.session.limits);
    this.recording = options.createRecorder(this.session);
    this.engine = options.createEngine(this.session.limits, this);
    this.exchanges = new HttpExchanges(this.session, options.log);
    this.#tickDueAt = performance.now() + TICK_MS;
    this.#ticks = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  get clients(): ReadonlyMap<number, ClientSocket> {
    return this.#clients;
  }

  /** Starts the hub, and connects to the engine. */
  start(): void {
    this.session.wake();
    this.engine?.start();
  }

  destroy(): void {
    this.engine?.end();
    clearTimeout(this.#timer);
    clearInterval(this.#ticks);
  }

  // --- events of sockets ---

  /** Takes a socket that has just been accepted. */
  open(socket: ClientSocket, stream: Duplex): void {
    while (this.#clients.has(this.#nextClient) || this.#nextClient === 0)
      this.#nextClient = (this.#nextClient + 1) >>> 0;
    const client = this.#nextClient;
    this.#nextClient = (client + 1) >>> 0;
    this.#clients.set(client, socket);
    socket.open(this, client, stream);
    this.#log.debug("socket opened", {
      client,
      get remote() {
        return (stream as Socket).remoteAddress; // a system call
      },
    });
    this.session.apply({ type: "client_opened", client });
  }

  onFrame(socket: ClientSocket, frame: Buffer, isText: boolean): void {
    this.#inTurn(() => {
      const { client, ending } = socket;
      if (ending) return;
      this.session.apply({ type: "client_frame", client, bytes: frame, is_text: isText ? 1 : 0 });
    });
  }

  onError(socket: ClientSocket, error: Error): void {
    this.#log.debug("socket error", { client: socket.client, error: error.message });
  }

  onClosed({ client }: ClientSocket, code: number): void {
    this.#inTurn(() => {
      if (!this.#clients.delete(client)) return;
      this.#log.debug("socket closed", { client, code });
      this.session.apply({ type: "client_closed", client });
    });
  }

  #inTurn(event: () => void): void {
    if (this.#held !== undefined) {
      this.#held.push(event);
      return;
    }
    event();
    // Otherwise the events of one turn could fill the memory.
    if (this.unsent.bytes + this.#turnBytes > this.session.limits.unsent_bytes_max) this.#flush();
  }

  #tick(): void {
    const now = performance.now();
    // Below 0: the event loop counts whole milliseconds.
    this.#loopLag.observe(Math.max(now - this.#tickDueAt, 0) / 1000);
    this.#tickDueAt = now + TICK_MS; // setInterval counts from here, too
    this.#pingSome();
  }

  /** One timer for all sockets. Each second it pings a part of them: that spreads the pings. */
  #pingSome(): void {
    this.#pingTick = (this.#pingTick + 1) % this.#pingSeconds;
    for (const [client, socket] of this.#clients) {
      if (client % this.#pingSeconds !== this.#pingTick || socket.ending) continue;
      if (socket.silentRounds() > SILENT_ROUNDS_MAX) socket.terminate();
      else this.#append(socket, PING_FRAME);
    }
  }

  #append(socket: ClientSocket | undefined, frame: Buffer): void {
    if (socket === undefined || socket.ending || !socket.append(frame, this.#turn)) return;
    // setImmediate runs once per turn, right after the inputs that were waiting: it adds no
    // noticeable delay to one input, and with many inputs each socket gets one write.
    if (this.#unflushed.push(socket) === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const sockets = this.#unflushed;
    this.#unflushed = [];
    this.#turn = Batch.start();
    this.#turnBytes = 0;
    for (const socket of sockets) {
      const buffered = socket.flush(this.session.limits.client_buffer_bytes_max);
      if (buffered === 0 || socket.ending) continue;
      const buffered_bytes = Math.min(buffered, 0xffffffff);
      this.session.apply({ type: "client_lagging", client: socket.client, buffered_bytes });
    }
    this.#limitUnsent();
  }

  /**
   * Drops connections at once: a close frame would wait behind the messages that the peer does not
   * take. Some memory is freed beyond the limit, so that the next message needs no other look at
   * all connections.
   */
  #limitUnsent(): void {
    const bytesMax = this.session.limits.unsent_bytes_max;
    if (this.unsent.bytes <= bytesMax) return;
    for (const socket of this.#clients.values()) socket.settleUnsent();
    if (this.unsent.bytes <= bytesMax) return;
    const holders = [...this.#clients.values()]
      .map((socket) => ({ socket, closing: Number(socket.closing), share: socket.unsentShare }))
      .filter(({ share }) => share > 0)
      .sort((a, b) => b.closing - a.closing || b.share - a.share);
    let connections = 0;
    for (const { socket } of holders) {
      if (this.unsent.bytes <= bytesMax * 0.75) break;
      socket.drop();
      connections++;
    }
    this.#dropped += connections;
    this.#log.warn("dropped connections: too many unsent messages (unsent_bytes_max)", {
      connections,
    });
    this.#holdEvents();
  }

  /** Until the next turn: only then are the messages of dropped connections free. */
  #holdEvents(): void {
    if (this.#held !== undefined) return;
    this.#held = [];
    setImmediate(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const event of held) this.#inTurn(event);
    });
  }

  // --- what a session asks for ---

  readonly now = now;

  createHub(): HubLike {
    return this.#createHub();
  }

  renewEngine(): void {
    this.engine?.renew();
  }

  *openClients(): Generator<border.RestoreClientInput> {
    for (const [client, { ending, record }] of this.#clients)
      if (!ending) yield { type: "restore_client", client, record: bytes(record) };
  }

  *storedTokens() {
    for (const [key, { record, ...token }] of this.#tokens)
      yield { type: "restore_token", key: bytes(key), record: bytes(record), ...token } as const;
  }

  forgetTokens(): void {
    this.#tokens.clear();
  }

  report(message: string, error: unknown, at = {}): void {
    const described = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#log.error(message, { ...at, error: described });
  }

  measure(): HostValues {
    for (const socket of this.#clients.values()) socket.settleUnsent();
    const { user, system } = process.cpuUsage();
    return {
      sidekick_host_dropped_clients_total: this.#dropped,
      sidekick_host_unsent_bytes: this.unsent.bytes,
      sidekick_host_loop_lag_seconds: this.#loopLag,
      process_resident_memory_bytes: process.memoryUsage.rss(),
      process_cpu_seconds_total: (user + system) / 1e6,
      process_start_time_seconds: performance.timeOrigin / 1000,
    };
  }

  put_token({ key, state, expires_at, record }: border.PutTokenAction): void {
    this.#tokens.set(latin1(key), { state, expires_at, record: latin1(record) });
  }

  touch_token({ key, state, expires_at }: border.TouchTokenAction): void {
    const token = this.#tokens.get(latin1(key));
    if (token !== undefined) Object.assign(token, { state, expires_at });
  }

  erase_token({ key }: border.EraseTokenAction): void {
    this.#tokens.delete(latin1(key));
  }

  attach_client({ client, record, append }: border.AttachClientAction): void {
    this.#clients.get(client)?.store(latin1(record), append !== 0);
  }

  send(action: border.SendAction): void {
    const frame = textFrame(action.text);
    this.#turnBytes += frame.byteLength;
    for (const client of action.clients) this.#append(this.#clients.get(client), frame);
  }

  respond(action: border.RespondAction): void {
    this.exchanges.respond(action);
  }

  forward({ forward, body, timeout_ms }: border.ForwardAction): void {
    if (this.forwarder === undefined) {
      if (!this.#warnedOfNoServer)
        this.#log.warn(
          "a client sent a message, but no app server is configured: set --server-url",
        );
      this.#warnedOfNoServer = true;
      this.session.apply(forwardDone(forward, unanswered("no_app_server")));
      return;
    }
    const limit = timeout_ms + FORWARD_TIMEOUT_EXTRA_MS;
    const sent = this.forwarder.send(Buffer.from(body), timeout_ms, limit, (result) => {
      this.#forwards.delete(forward);
      this.session.apply(forwardDone(forward, result));
    });
    this.#forwards.set(forward, sent);
  }

  cancel_forward({ forward }: border.CancelForwardAction): void {
    const sent = this.#forwards.get(forward);
    this.#forwards.delete(forward);
    if (sent !== undefined) this.forwarder?.cancel(sent);
  }

  close({ client, code, reason, why }: border.CloseAction): void {
    const fields = { client, code, why: ERROR_CODES[why], reason: text(reason) };
    this.#log[levelOf(fields.why)]("the Sidekick closes a socket", fields);
    this.#clients.get(client)?.end(code, Buffer.from(reason));
  }

  set_timer({ at_ms }: border.SetTimerAction): void {
    clearTimeout(this.#timer);
    if (at_ms === 0) return;
    const delay = Math.min(Math.max(at_ms - now(), 0), TIMER_MS_MAX);
    this.#timer = setTimeout(() => this.session.apply({ type: "timer_fired" }), delay).unref();
  }

  // --- the engine ---

  engine_run({ call, script, args }: border.EngineRunAction): void {
    this.engine?.run(call, text(script), args);
  }

  engine_join({ call, topics }: border.EngineJoinAction): void {
    this.engine?.join(call, topics);
  }

  engine_leave({ topics }: border.EngineLeaveAction): void {
    this.engine?.leave(topics);
  }

  onEngineUp(): void {
    this.session.apply({ type: "engine_up", shard: ENGINE_SHARD, kept: 0 });
  }

  onEngineDown(): void {
    this.session.apply({ type: "engine_down", shard: ENGINE_SHARD });
  }

  onEngineAnswer(call: number, status: number, values: readonly Uint8Array[]): void {
    if (status !== 0)
      this.#log.warn("the engine refused a call", { reason: values.map(latin1).join(" ") });
    this.session.apply({ type: "engine_answer", call, status, values });
  }

  onEngineMessage(topic: Uint8Array, body: Uint8Array): void {
    this.session.apply({ type: "engine_message", shard: ENGINE_SHARD, topic, body });
  }
}

function latin1(view: Uint8Array): string {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("latin1");
}

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
