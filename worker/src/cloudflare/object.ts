// The Durable Object: maps its events to inputs, and performs the hub's actions. Owns the clients'
// sockets, the stored records, the alarm and the recording. With shards, it is one of the gateways.
//
// It hibernates whenever it is idle and then loses its memory; sockets, attachments, rows and the
// alarm remain. Nothing here may therefore keep it awake: no pending timer, and no fetch awaited in
// a handler. The first event after a wake restores the hub.
import { DurableObject } from "cloudflare:workers";
import type * as border from "../module/border.generated.js";
import {
  FRAME_BYTES_OVER_MAX,
  METRICS_CONTENT_TYPE,
  VerdictKind,
} from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { ConfigError, text } from "../module/hub.js";
import type { Io } from "../session/io.js";
import { forwardDone, unanswered } from "../session/outcome.js";
import { randomDigits } from "../session/random.js";
import { Session } from "../session/session.js";
import { forward } from "./app-server.js";
import { attach, detach, readAttachment } from "./attachment.js";
import { createHub } from "./create-hub.js";
import {
  broken,
  brokenOff,
  inputOf,
  isTrace,
  isUpgrade,
  misconfigured,
  responseOf,
} from "./http.js";
import { logError, logTold } from "./log.js";
import type { Place } from "./scale.js";
import { GATEWAY_HEADER, limitOf, nodeOf, numberIn, scaledConfig } from "./scale.js";
import type { Env, HubSettings } from "./settings.js";
import { hubNameOf, readSettings } from "./settings.js";
import { ShardLinks } from "./shard-links.js";
import type { TokenRow } from "./store.js";
import { Store } from "./store.js";
import { TraceRing } from "./trace-ring.js";

const CLOSE_TOO_LARGE = 1009;
const CLOSE_TRY_AGAIN = 1013;
/** Longer than a client needs for its first message. */
const SILENT_MS_MAX = 60_000;
const CLOSE_PROTOCOL_ERROR = 1002;
const PING = '{"type":"ping"}';
const PONG = '{"type":"pong"}';
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

/**
 * On the way from the Worker, which has checked them, the runtime drops two headers of an upgrade.
 * 16 bytes in Base64 are a valid key.
 */
function passedOn(request: Request): Request {
  if (!isUpgrade(request)) return request;
  const headers = new Headers(request.headers);
  headers.set("Connection", "Upgrade");
  headers.set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
  return new Request(request.url, { headers });
}

export class SidekickObject extends DurableObject<Env> {
  /** Set while the object is awake. */
  #awake: Awake | undefined;

  /** Handles upgrades and the requests that the Worker lets through. */
  override async fetch(request: Request): Promise<Response> {
    const hub = hubNameOf(this.env, new URL(request.url).hostname) ?? "";
    try {
      const awake = this.#wake({ hub, number: numberIn(request, hub, this.env, this.ctx.id) });
      return isTrace(request) ? awake.trace() : await awake.request(request);
    } catch (error) {
      // Errors lose their class on the way to the Worker.
      if (!(error instanceof ConfigError) || !request.headers.has(GATEWAY_HEADER)) throw error;
      return misconfigured(error);
    }
  }

  /** Takes a shard's messages. A gap has none, and means that some were lost. */
  deliver(place: Place, ...delivery: Parameters<ShardLinks["deliver"]>): void {
    this.#wake(place).links?.deliver(...delivery);
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#wake().frame(socket, message);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#wake().closed(socket);
    // Completes the close handshake; without this the peer would see 1006. A code that cannot be
    // sent means that the peer sent none.
    const answer = code === 1005 || code === 1006 || code === 1015 ? 1000 : code;
    for (const one of [answer, CLOSE_PROTOCOL_ERROR]) {
      try {
        return socket.close(one);
      } catch {
        // a code that no endpoint may send
      }
    }
  }

  override webSocketError(socket: WebSocket): void {
    this.#wake().closed(socket);
  }

  override alarm(): void {
    try {
      this.#wake().alarm();
    } catch (error) {
      // The hub is no longer configured, or is misconfigured: a retry would fail the same way. The
      // next request sets the alarm again.
      if (!(error instanceof ConfigError)) throw error;
      logError("the alarm failed", error);
    }
  }

  /** For tests: replaces the module's hub. */
  protected createHub(settings: HubSettings, hashSeed: string): HubLike {
    return createHub(settings, hashSeed);
  }

  #wake(place?: Place): Awake {
    this.#awake ??= new Awake(this.ctx, this.env, place, (settings, hashSeed) =>
      this.createHub(settings, hashSeed),
    );
    return this.#awake;
  }
}

/** The object while it is awake. */
class Awake implements Io {
  readonly session: Session;
  readonly recording: TraceRing | undefined;
  /** Undefined: there are no shards. */
  readonly links: ShardLinks | undefined;
  readonly howToRecord = "none: set SIDEKICK_TRACE_BYTES to have one";
  readonly createHub: () => HubLike;
  readonly #ctx: DurableObjectState;
  readonly #store: Store;
  readonly #name: string;
  readonly #sockets = new Map<number, WebSocket>();
  readonly #clients = new Map<WebSocket, number>();
  /** Clients whose record is in rows. */
  readonly #inRows = new Set<number>();
  /** Clients that have sent nothing yet, the oldest first, and since when. See #makeRoom. */
  readonly #silent = new Map<number, number>();
  readonly #exchanges = new Map<number, (response: Response) => void>();
  #nextClient = 1;
  #nextRequest = 1;
  readonly #forwards = new Map<number, AbortController>();
  #alarmAt = 0;
  /** Whether the current alarm time is known: after a wake, an alarm from before may be set. */
  #alarmIsKnown = false;
  /** Whether a new recording is about to start. */
  #isRenewing = false;

  constructor(
    ctx: DurableObjectState,
    env: Env,
    place: Place | undefined,
    create: (settings: HubSettings, hashSeed: string) => HubLike,
  ) {
    this.#ctx = ctx;
    this.#store = new Store(ctx.storage);
    const { settings: stored } = this.#store;
    this.#name = stored.settled("hub", () => place?.hub ?? "");
    const hashSeed = stored.settled("hash_seed", randomDigits);
    const settings = readSettings(env, this.#name);
    const { traceBytesMax } = settings;
    if (traceBytesMax > 0)
      this.recording = new TraceRing(ctx.storage, traceBytesMax, () => this.#renewTrace());
    const { scale } = settings;
    if (scale === undefined) {
      this.createHub = () => create(settings, hashSeed);
      this.session = new Session(this);
      return;
    }
    stored.checkShards(scale);
    const number = Number(stored.settled("gateway", () => String(place?.number ?? 0)));
    const config = scaledConfig(settings, scale, nodeOf(number));
    this.createHub = () => {
      this.links?.renew();
      return create({ ...settings, config }, hashSeed);
    };
    this.session = new Session(this);
    this.links = new ShardLinks({
      ctx,
      env,
      gateway: { hub: this.#name, number },
      scale,
      stored,
      session: this.session,
      timeoutMs: limitOf(settings, "engine_timeout_ms"),
      alarmAt: (ms) => this.#retryAt(ms),
    });
    this.links.start();
  }

  // --- events ---

  async request(request: Request): Promise<Response> {
    const id = this.#nextRequest;
    this.#nextRequest = (id + 1) >>> 0 || 1;
    const answer = new Promise<Response>((resolve) => this.#exchanges.set(id, resolve));
    const input = { ...inputOf(passedOn(request)), request: id };
    if (isUpgrade(request)) this.#makeRoom();
    const verdict = this.session.admit(input);
    if (verdict?.kind === VerdictKind.socket) {
      this.#exchanges.delete(id);
      return this.#accept(verdict.protocol);
    }
    if (verdict?.kind === VerdictKind.metrics) {
      const metrics = this.session.metrics(input);
      if (metrics === undefined) return answer;
      this.#exchanges.delete(id);
      return new Response(metrics, { headers: { "Content-Type": METRICS_CONTENT_TYPE } });
    }
    if (verdict?.kind === VerdictKind.body) {
      const body = request.body === null ? NOTHING : await request.bytes().catch(() => undefined);
      if (body === undefined) this.#exchanges.delete(id);
      if (body === undefined) return brokenOff();
      this.session.apply({ ...input, body_bytes: body.byteLength, body });
    } else if (verdict !== undefined) {
      this.session.apply(input);
    }
    return answer;
  }

  /**
   * The runtime says nothing of a peer that has reset its connection before the answer to its
   * upgrade: its socket stays open. So at clients_max, the object closes the oldest socket that has
   * sent nothing for a minute, not even a ping.
   */
  #makeRoom(): void {
    this.session.wake();
    if (this.#sockets.size < this.session.limits.clients_max) return;
    for (const [client, since] of this.#silent) {
      if (this.now() - since < SILENT_MS_MAX) return;
      const socket = this.#sockets.get(client)!;
      this.#silent.delete(client);
      if (this.#ctx.getWebSocketAutoResponseTimestamp(socket) !== null) continue;
      this.closed(socket);
      return socket.close(
        CLOSE_TRY_AGAIN,
        "idle connection closed to accept another (clients_max)",
      );
    }
  }

  #accept(protocol: string): Response {
    const { 0: theirs, 1: ours } = new WebSocketPair();
    // The runtime answers these itself, without waking the object and at no cost.
    this.#ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    this.#ctx.acceptWebSocket(ours);
    while (this.#sockets.has(this.#nextClient) || this.#nextClient === 0)
      this.#nextClient = (this.#nextClient + 1) >>> 0;
    const client = this.#nextClient;
    this.#nextClient = (client + 1) >>> 0;
    this.#know(ours, client);
    this.#silent.set(client, this.now());
    attach(ours, client, "");
    this.session.apply({ type: "client_opened", client });
    // A socket closed before the handshake completes would stay half-open until the object
    // hibernates.
    if (!this.#clients.has(ours)) return broken();
    const headers = new Headers();
    if (protocol !== "") headers.set("Sec-WebSocket-Protocol", protocol);
    return new Response(null, { status: 101, webSocket: theirs, headers });
  }

  frame(socket: WebSocket, message: string | ArrayBuffer): void {
    const client = this.#clientOf(socket);
    if (client === undefined) return; // already closed
    this.#silent.delete(client);
    const { frame_bytes_max: bytesMax } = this.session.limits;
    const isText = typeof message === "string";
    const bytes = isText ? encoder.encode(message) : new Uint8Array(message);
    if (bytes.byteLength > bytesMax + FRAME_BYTES_OVER_MAX) {
      // Up to this size the hub answers with a clear error. A larger frame would only cost memory,
      // which the module never returns.
      this.closed(socket);
      socket.close(CLOSE_TOO_LARGE, "message exceeds the limit (frame_bytes_max)");
      return;
    }
    this.session.apply({ type: "client_frame", client, bytes, is_text: isText ? 1 : 0 });
  }

  alarm(): void {
    this.#alarmAt = 0;
    this.links?.onAlarm();
    this.session.apply({ type: "timer_fired" });
  }

  closed(socket: WebSocket): void {
    const client = this.#clientOf(socket);
    if (client === undefined) return;
    this.#forget(socket, client);
    this.session.apply({ type: "client_closed", client });
  }

  /** The recording so far. */
  trace(): Response {
    this.session.wake();
    return new Response(this.recording?.stream(), {
      headers: { "Content-Type": "application/jsonl; charset=utf-8" },
    });
  }

  #clientOf(socket: WebSocket): number | undefined {
    this.session.wake();
    return this.#clients.get(socket);
  }

  #know(socket: WebSocket, client: number): void {
    this.#sockets.set(client, socket);
    this.#clients.set(socket, client);
  }

  #forget(socket: WebSocket, client: number): void {
    this.#sockets.delete(client);
    this.#clients.delete(socket);
    this.#silent.delete(client);
    // The socket may stay in the runtime's list until its peer answers the close. It must not be
    // restored from that list.
    detach(socket);
    if (this.#inRows.delete(client)) this.#tidy(client);
  }

  /** Cleanup that can wait for the next restore must not fail anything. */
  #tidy(client: number): void {
    try {
      this.#store.clients.erase(client);
    } catch (error) {
      this.report("obsolete rows could not be deleted", error);
    }
  }

  /**
   * Starts a new recording with a new hub if the current one is long. Not while an answer is
   * awaited, which would be lost: nothing is recorded beyond the limit until then.
   */
  #renewTrace(): void {
    if (this.#isRenewing || !this.#isTimeToRenew) return;
    this.#isRenewing = true;
    setTimeout(() => {
      this.#isRenewing = false;
      if (this.#isTimeToRenew) this.session.restart();
    }, 0); // does not keep the object awake
  }

  get #isTimeToRenew(): boolean {
    return (
      this.recording?.isLong === true &&
      this.#forwards.size === 0 &&
      !this.session.isAnswering &&
      (this.links?.isIdle ?? true)
    );
  }

  // --- what a session asks for ---

  now = () => Date.now();
  forgetTokens = () => this.#store.tokens.eraseAll();

  report(message: string, error: unknown, at = {}): void {
    logError(message, error, at);
  }

  *storedTokens(): Generator<TokenRow & { type: "restore_token" }> {
    for (const token of this.#store.tokens.all()) yield { type: "restore_token", ...token };
  }

  /** In ascending order of handles, so that the hub only appends to its sorted tables. */
  openClients(): border.RestoreClientInput[] {
    const inRows = this.#store.clients.all();
    const found: border.RestoreClientInput[] = [];
    this.#inRows.clear();
    for (const socket of this.#ctx.getWebSockets()) {
      const attachment = readAttachment(socket);
      if (attachment === undefined) continue;
      const { client } = attachment;
      const isInRows = typeof attachment.record !== "string";
      const record = isInRows ? (inRows.get(client) ?? NOTHING) : (attachment.record as string);
      if (isInRows) this.#inRows.add(client);
      this.#know(socket, client);
      found.push({ type: "restore_client", client, record });
    }
    // Rows of clients that disconnected while the object was not awake.
    for (const client of inRows.keys()) if (!this.#inRows.has(client)) this.#tidy(client);
    found.sort((a, b) => a.client - b.client);
    this.#silent.clear();
    for (const { client, record } of found) if (record === "") this.#silent.set(client, 0);
    return found;
  }

  put_token = (action: border.PutTokenAction) => this.#store.tokens.put(action);
  touch_token = (action: border.TouchTokenAction) => this.#store.tokens.touch(action);
  erase_token = (action: border.EraseTokenAction) => this.#store.tokens.erase(action.key);

  attach_client({ client, record, append }: border.AttachClientAction): void {
    const socket = this.#sockets.get(client);
    if (socket === undefined) return;
    if (append && this.#inRows.has(client)) return this.#store.clients.append(client, record);
    const before = append ? readAttachment(socket)?.record : "";
    const whole = (typeof before === "string" ? before : "") + text(record);
    if (!attach(socket, client, whole)) {
      this.#store.clients.put(client, encoder.encode(whole));
      this.#inRows.add(client);
    } else if (this.#inRows.delete(client)) {
      this.#store.clients.erase(client);
    }
  }

  send(action: border.SendAction): void {
    const message = text(action.text);
    for (const client of action.clients) {
      try {
        this.#sockets.get(client)?.send(message);
      } catch {
        // The socket is gone, and its close event is on its way.
      }
    }
  }

  respond(action: border.RespondAction): void {
    logTold("rejected a request", action.code, { status: action.status });
    this.#exchanges.get(action.request)?.(responseOf(action));
    this.#exchanges.delete(action.request);
    this.#renewTrace();
  }

  forward({ forward, body, timeout_ms }: border.ForwardAction): void {
    // No handler awaits this: awaiting would delay the socket's next frame.
    this.#ctx.waitUntil(this.#forward(forward, body.slice(), timeout_ms));
  }

  async #forward(id: number, body: Uint8Array, timeoutMs: number): Promise<void> {
    const { AppServer } = this.#ctx.exports as unknown as { AppServer: Fetcher };
    const { forward_answer_bytes_max: answerBytesMax } = this.session.limits;
    const canceller = new AbortController();
    const { signal } = canceller;
    this.#forwards.set(id, canceller);
    const what = { hub: this.#name, timeoutMs, answerBytesMax };
    const result = await forward(AppServer, what, body, signal).catch((error: unknown) => {
      if (!signal.aborted) this.report("forward failed", error);
      return unanswered("broken_off");
    });
    this.#forwards.delete(id);
    if (!signal.aborted) this.session.apply(forwardDone(id, result));
    this.#renewTrace();
  }

  cancel_forward({ forward }: border.CancelForwardAction): void {
    this.#forwards.get(forward)?.abort();
  }

  close({ client, code, reason, why }: border.CloseAction): void {
    logTold("the Sidekick closes a socket", why, { client, status: code, reason: text(reason) });
    const socket = this.#sockets.get(client);
    if (socket === undefined) return;
    this.#forget(socket, client);
    socket.close(code, text(reason));
  }

  engine_run = (action: border.EngineRunAction) => this.links?.run(action);
  engine_join = (action: border.EngineJoinAction) => this.links?.join(action);
  engine_leave = (action: border.EngineLeaveAction) => this.links?.leave(action);

  #retryAt(ms: number): void {
    if (this.#alarmAt === 0 || ms < this.#alarmAt) this.set_timer({ type: "set_timer", at_ms: ms });
  }

  set_timer({ at_ms }: border.SetTimerAction): void {
    this.#alarmAt = Math.min(at_ms, this.links?.retryAt ?? Infinity);
    if (this.#alarmIsKnown) return this.#writeAlarm();
    // An alarm set before this wake is kept unless it is too late: firing early is harmless, and a
    // write is billed.
    this.#ctx.waitUntil(
      this.#ctx.storage.getAlarm().then((current) => {
        this.#alarmIsKnown = true;
        if (current === null || current > this.#alarmAt) this.#writeAlarm();
      }),
    );
  }

  #writeAlarm(): void {
    void this.#ctx.storage.setAlarm(this.#alarmAt);
  }
}
