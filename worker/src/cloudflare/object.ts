// The Durable Object: passes inputs to the hub and performs its actions in list order. Owns the
// clients' sockets, the stored records, the alarm and the recording. Makes no protocol decision.
//
// It hibernates whenever it is idle and then loses its memory; sockets, attachments, rows and the
// alarm remain. Nothing here may therefore keep it awake: no pending timer, and no fetch awaited in
// a handler. The first event after a wake restores the hub.
import { DurableObject } from "cloudflare:workers";
import type { Action, Input, SendAction } from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { ConfigError, ModuleTrap, text } from "../module/hub.js";
import type { Bytes } from "../module/memory.js";
import type { ForwardResult } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import type { AppServer } from "./app-server.js";
import { attach, detach, readAttachment } from "./attachment.js";
import { createHashSeed, createHub } from "./create-hub.js";
import type { HttpAnswer } from "./http.js";
import {
  answerOf,
  BROKEN,
  BROKEN_OFF,
  isTrace,
  isUpgrade,
  NOT_STORED,
  plainAnswer,
  responseOf,
} from "./http.js";
import type { Env, HubSettings } from "./settings.js";
import { hubNameOf, readSettings } from "./settings.js";
import { Store } from "./store.js";

/** One HTTP request whose body has been read. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string;
  readonly body: Uint8Array;
}

const CLOSE_TOO_LARGE = 1009;
/**
 * Up to this many bytes over frame_bytes_max, the hub still answers with a clear error and the
 * socket stays open. The Node host uses the same margin.
 */
const FRAME_BYTES_OVER_MAX = 64 * 1024;
const CLOSE_PROTOCOL_ERROR = 1002;
const CLOSE_INTERNAL_ERROR = 1011;
/** Values of `state` in put_token and touch_token. */
const TOKEN_FREE = 0;
const PING = '{"type":"ping"}';
const PONG = '{"type":"pong"}';
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

export class SidekickObject extends DurableObject<Env> {
  /** Set while the object is awake. */
  #awake: Awake | undefined;

  /** Handles upgrades to `/socket` and the requests that the Worker lets through. */
  override async fetch(request: Request): Promise<Response> {
    const { hostname, pathname, search } = new URL(request.url);
    const hub = hubNameOf(this.env, hostname) ?? "";
    if (isUpgrade(request)) return this.#accept(this.#wake(hub));
    if (isTrace(request)) return this.#wake(hub).trace();
    const body = request.body === null ? NOTHING : await request.bytes().catch(() => undefined);
    if (body === undefined) return responseOf(BROKEN_OFF);
    const authorization = request.headers.get("Authorization") ?? "";
    return responseOf(
      this.#wake(hub).request({
        method: request.method,
        path: pathname + search,
        authorization,
        body,
      }),
    );
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
      this.#wake().apply({ type: "timer_fired" });
    } catch (error) {
      // The hub is no longer configured, or is misconfigured: a retry would fail the same way. The
      // next request sets the alarm again.
      if (!(error instanceof ConfigError)) throw error;
      console.error(error);
    }
  }

  #accept(awake: Awake): Response {
    const { 0: theirs, 1: ours } = new WebSocketPair();
    // The runtime answers these itself, without waking the object and at no cost.
    this.ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    this.ctx.acceptWebSocket(ours);
    const refusal = awake.open(ours);
    // A socket closed before the handshake completes would stay half-open until the object
    // hibernates.
    if (refusal !== undefined)
      return responseOf(plainAnswer(503, `Service Unavailable: ${refusal}`));
    return new Response(null, { status: 101, webSocket: theirs });
  }

  /** For tests: replaces the module's hub. */
  protected createHub(settings: HubSettings, hashSeed: string): HubLike {
    return createHub(settings, hashSeed);
  }

  #wake(hub?: string): Awake {
    this.#awake ??= new Awake(this.ctx, this.env, hub, (settings, hashSeed) =>
      this.createHub(settings, hashSeed),
    );
    return this.#awake;
  }
}

/** The object while it is awake: a hub and everything the hub has been told. */
class Awake {
  readonly #store: Store;
  readonly #ctx: DurableObjectState;
  readonly #name: string;
  readonly #settings: HubSettings;
  readonly #createHub: () => HubLike;
  readonly #sockets = new Map<number, WebSocket>();
  readonly #clients = new Map<WebSocket, number>();
  /** Clients whose record is in rows. */
  readonly #inRows = new Set<number>();
  readonly #answers = new Map<number, HttpAnswer>();
  /** Undefined if the hub must be restored before the next input. */
  #hub: HubLike | undefined;
  /** Number of hubs created so far. */
  #generation = 0;
  #nextClient = 1;
  #nextRequest = 1;
  #forwards = 0;
  #alarmAt = 0;
  /** Reason of the most recent close. */
  #refusal: string | undefined;
  /** Whether the hub produces trace lines. */
  #isRecording = false;
  /** Bytes of the current recording that belong to its restore. */
  #restoredTraceBytes = 0;
  /** Whether a new recording is about to start. */
  #isRenewing = false;
  /** Whether the current alarm time is known: after a wake, an alarm from before may be set. */
  #alarmIsKnown = false;

  constructor(
    ctx: DurableObjectState,
    env: Env,
    hub: string | undefined,
    create: (settings: HubSettings, hashSeed: string) => HubLike,
  ) {
    this.#ctx = ctx;
    this.#store = new Store(ctx.storage);
    this.#name = this.#settled("hub", () => hub ?? "");
    const hashSeed = this.#settled("hash_seed", createHashSeed);
    this.#settings = readSettings(env, this.#name);
    this.#createHub = () => create(this.#settings, hashSeed);
  }

  /** Returns why the hub rejects the socket, or undefined if it accepts it. */
  open(socket: WebSocket): string | undefined {
    this.#live();
    while (this.#sockets.has(this.#nextClient) || this.#nextClient === 0)
      this.#nextClient = (this.#nextClient + 1) >>> 0;
    const client = this.#nextClient;
    this.#nextClient = (client + 1) >>> 0;
    this.#know(socket, client);
    attach(socket, client, "");
    this.#refusal = undefined;
    this.apply({ type: "client_opened", client });
    return this.#clients.has(socket) ? undefined : this.#refusal;
  }

  frame(socket: WebSocket, message: string | ArrayBuffer): void {
    const { frame_bytes_max: bytesMax } = this.#live().limits;
    const client = this.#clients.get(socket);
    if (client === undefined) return; // already closed
    const size = typeof message === "string" ? message.length : message.byteLength;
    if (size > bytesMax + FRAME_BYTES_OVER_MAX) {
      // Up to this size the hub answers with a clear error. A larger frame would only cost memory,
      // which the module never returns.
      this.closed(socket);
      socket.close(CLOSE_TOO_LARGE, `at most ${bytesMax} bytes (frame_bytes_max)`);
      return;
    }
    this.apply({
      type: "client_frame",
      client,
      bytes: typeof message === "string" ? message : new Uint8Array(message),
    });
  }

  closed(socket: WebSocket): void {
    this.#live();
    const client = this.#clients.get(socket);
    if (client === undefined) return;
    this.#forget(socket, client);
    this.apply({ type: "client_closed", client });
  }

  request(request: HttpRequest): HttpAnswer {
    const id = this.#nextRequest;
    this.#nextRequest = (id + 1) >>> 0;
    this.apply({
      type: "http_request",
      request: id,
      body_bytes: request.body.byteLength,
      ...request,
    });
    const answer = this.#answers.get(id) ?? BROKEN;
    this.#answers.delete(id);
    return answer;
  }

  /** The recording so far. */
  trace(): Response {
    return new Response(this.#store.trace.stream(), {
      headers: { "Content-Type": "application/jsonl; charset=utf-8" },
    });
  }

  /** Passes one input to the hub and performs the resulting actions. */
  apply(input: Input): void {
    const hub = this.#live();
    const now = Date.now();
    try {
      this.#perform(hub, hub.handle(now, input), input);
    } catch (error) {
      this.#recover(error, now, input);
    }
    if (this.#hub !== undefined) this.#keepTrace(this.#hub);
  }

  #perform(hub: HubLike, actions: readonly Action[], input: Input): void {
    let isStored = true;
    const unsent: number[] = [];
    const generation = this.#generation;
    for (const action of actions) {
      if (!isStored && action.type === "forward") {
        unsent.push(action.forward);
        continue;
      }
      try {
        this.#performOne(hub, action);
      } catch (error) {
        // An error in one action must not close every socket.
        console.error(`${input.type}: ${action.type} failed: ${described(error)}`);
        if (!mustBeStored(action)) continue;
        // Nothing that was not stored may be confirmed or sent: the sender gets none of the sends
        // that follow.
        isStored = false;
        if ("client" in input)
          this.#end(input.client, CLOSE_INTERNAL_ERROR, "internal error: storage failed");
      }
    }
    // After the actions: the next call on the hub invalidates their views.
    if (this.#isRecording) this.#store.trace.write(hub.recorded());
    if (isStored) return;
    if ("client" in input) this.apply({ type: "client_closed", client: input.client });
    else if ("request" in input) this.#answers.set(input.request, NOT_STORED);
    for (const forward of unsent) {
      // As for every answer: another hub may have used the same number for another client's
      // forward.
      if (generation === this.#generation)
        this.apply(forwardDone(forward, unanswered("unreachable")));
    }
  }

  #performOne(hub: HubLike, action: Action): void {
    switch (action.type) {
      case "put_token":
        this.#store.tokens.put(action);
        return;
      case "touch_token":
        this.#store.tokens.touch(action.key, action.state, action.expires_at);
        return;
      case "erase_token":
        this.#store.tokens.erase(action.key);
        return;
      case "attach_client":
        this.#attach(action.client, action.record, action.append === 1);
        return;
      case "send":
        this.#send(action);
        return;
      case "respond":
        this.#answers.set(action.request, answerOf(action));
        return;
      case "forward":
        this.#forwards++;
        // No handler awaits this: awaiting would delay the socket's next frame.
        this.#ctx.waitUntil(
          this.#forward(
            action.forward,
            action.body.slice(),
            action.timeout_ms,
            hub.limits.forward_answer_bytes_max,
          ),
        );
        return;
      case "close":
        this.#end(action.client, action.code, text(action.reason));
        return;
      case "set_timer":
        this.#setAlarm(action.at_ms);
        return;
    }
  }

  #send(action: SendAction): void {
    const message = text(action.text);
    for (const client of action.clients) {
      try {
        this.#sockets.get(client)?.send(message);
      } catch {
        // The socket is gone, and its close event is on its way.
      }
    }
  }

  #attach(client: number, record: Uint8Array, appended: boolean): void {
    const socket = this.#sockets.get(client);
    if (socket === undefined) return;
    if (appended && this.#inRows.has(client)) return this.#store.clients.append(client, record);
    const before = appended ? readAttachment(socket)?.record : "";
    const whole = (typeof before === "string" ? before : "") + text(record);
    if (!attach(socket, client, whole)) {
      this.#store.clients.put(client, encoder.encode(whole));
      this.#inRows.add(client);
    } else if (this.#inRows.delete(client)) {
      this.#store.clients.erase(client);
    }
  }

  async #forward(
    id: number,
    body: Uint8Array,
    timeoutMs: number,
    answerBytesMax: number,
  ): Promise<void> {
    const generation = this.#generation;
    const { AppServer } = this.#ctx.exports as unknown as { AppServer: Service<AppServer> };
    const result = await AppServer.forward(this.#name, body, timeoutMs, answerBytesMax).catch(
      (error: unknown) => {
        console.error(`forward failed: ${described(error)}`);
        return unanswered("broken_off");
      },
    );
    this.#forwards--;
    // Ignore answers to forwards of a previous hub.
    if (generation === this.#generation) this.apply(forwardDone(id, result));
  }

  #end(client: number, code: number, reason: string): void {
    const socket = this.#sockets.get(client);
    if (socket === undefined) return;
    this.#forget(socket, client);
    socket.close(code, reason);
    this.#refusal = reason;
  }

  #setAlarm(atMs: number): void {
    this.#alarmAt = atMs;
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

  #know(socket: WebSocket, client: number): void {
    this.#sockets.set(client, socket);
    this.#clients.set(socket, client);
  }

  #forget(socket: WebSocket, client: number): void {
    this.#sockets.delete(client);
    this.#clients.delete(socket);
    // The socket may stay in the runtime's list until its peer answers the close. It must not be
    // restored from that list.
    detach(socket);
    if (this.#inRows.delete(client)) this.#tidy(() => this.#store.clients.erase(client));
  }

  // --- wake, trap, recording ---

  /** The hub, restored first if necessary. */
  #live(): HubLike {
    return this.#hub ?? this.#restored(() => {});
  }

  /**
   * The hub trapped. Closes the client that sent the input, and continues with a new hub restored
   * from storage.
   */
  #recover(error: unknown, now: number, input: Input): void {
    console.error(
      `the hub trapped at ${input.type} and is restored from storage; please report this: ` +
        `${described(error)}`,
    );
    if ("client" in input) this.#end(input.client, CLOSE_INTERNAL_ERROR, "internal error");
    if (this.#isRecording) this.#recordLast(now, input);
    // The timer ends the restore: it frees what closed clients held, and the alarm is set for it.
    const end: Input = { type: "timer_fired" };
    this.#restored((hub) => this.#perform(hub, hub.handle(Date.now(), end), end));
  }

  /** Appends the input at which a hub trapped to the end of its recording. */
  #recordLast(now: number, input: Input): void {
    try {
      this.#store.trace.write(this.#createHub().recordInput(now, input));
    } catch (error) {
      console.error(`the input is missing from the recording: ${described(error)}`);
    }
  }

  #restored(andThen: (hub: HubLike) => void): HubLike {
    // A hub that cannot be created (a wrong setting) does not mean that the records are bad: they
    // stay.
    const hub = this.#createHub();
    try {
      this.#restore(hub);
      andThen(hub);
      return hub;
    } catch (error) {
      if (!(error instanceof ModuleTrap)) {
        this.#hub = undefined;
        throw error;
      }
      // The records themselves cause the trap. Dropping all state is better than serving nobody.
      console.error(
        "the stored records cannot be restored: dropping all tokens and closing all sockets: " +
          `${described(error)}`,
      );
      this.#store.tokens.eraseAll();
      for (const socket of this.#ctx.getWebSockets()) {
        detach(socket);
        socket.close(CLOSE_INTERNAL_ERROR, "internal error");
      }
      this.#sockets.clear();
      this.#clients.clear();
      this.#inRows.clear();
      const empty = this.#createHub();
      this.#restore(empty);
      return empty;
    }
  }

  #restore(hub: HubLike): void {
    this.#hub = hub;
    this.#generation++;
    this.#isRecording = this.#settings.traceBytesMax > 0;
    if (this.#isRecording) {
      this.#store.trace.begin(this.#settings.traceBytesMax, hub.describe());
      hub.record(true);
    }
    const now = Date.now();
    const damaged: Uint8Array[] = [];
    for (const token of this.#store.tokens.all()) {
      const actions = hub.handle(now, { type: "restore_token", ...token });
      // erased later, not while the rows are being read
      if (actions.length > 0) damaged.push(token.key);
      if (this.#isRecording) this.#store.trace.write(hub.recorded());
    }
    for (const key of damaged) this.#tidy(() => this.#store.tokens.erase(key));
    this.#restoreClients(hub, now);
    this.#store.trace.flush();
    this.#restoredTraceBytes = this.#store.trace.bytes;
  }

  /** In ascending order of handles, so that the hub only appends to its sorted tables. */
  #restoreClients(hub: HubLike, now: number): void {
    const inRows = this.#store.clients.all();
    const found: { readonly client: number; readonly socket: WebSocket; readonly record: Bytes }[] =
      [];
    for (const socket of this.#ctx.getWebSockets()) {
      const attachment = readAttachment(socket);
      if (attachment === undefined) continue;
      const { client, record } = attachment;
      found.push({
        client,
        socket,
        record: typeof record === "string" ? record : (inRows.get(client) ?? NOTHING),
      });
      if (typeof record !== "string") this.#inRows.add(client);
    }
    found.sort((a, b) => a.client - b.client);
    for (const { client, socket, record } of found) {
      this.#know(socket, client);
      const input: Input = { type: "restore_client", client, record };
      this.#perform(hub, hub.handle(now, input), input);
    }
    // Rows of clients that disconnected while the object was not awake.
    for (const client of inRows.keys()) {
      if (!this.#inRows.has(client)) this.#tidy(() => this.#store.clients.erase(client));
    }
  }

  /** Cleanup that can wait for the next restore must not fail this one. */
  #tidy(erase: () => void): void {
    try {
      erase();
    } catch (error) {
      console.error(`obsolete rows could not be deleted: ${described(error)}`);
    }
  }

  /** Stores the trace lines of an input and bounds the recording. */
  #keepTrace(hub: HubLike): void {
    if (this.#settings.traceBytesMax === 0) return;
    this.#store.trace.flushSoon();
    if (this.#isTraceLong(0.5)) this.#renewTrace();
    if (!this.#isRecording || (this.#store.trace.isOpen && !this.#isTraceLong(1))) return;
    this.#isRecording = false;
    hub.record(false); // trace lines that nobody stores would cost as much
  }

  /** The restore does not count towards the limit: a long restore must not trigger the next one. */
  #isTraceLong(share: number): boolean {
    return (
      this.#store.trace.bytes - this.#restoredTraceBytes > share * this.#settings.traceBytesMax
    );
  }

  /**
   * Starts a new recording with a new hub, because a replay does what a restored hub does. Runs in
   * a turn of its own, after everything this event sends.
   *
   * Not while a forward is in flight, whose answer would be lost. It tries again later, and records
   * nothing beyond the limit until then.
   */
  #renewTrace(): void {
    if (this.#isRenewing || this.#forwards > 0) return;
    this.#isRenewing = true;
    setTimeout(() => {
      this.#isRenewing = false;
      if (this.#forwards > 0 || !this.#isTraceLong(0.5)) return;
      try {
        this.#restored(() => {});
      } catch (error) {
        console.error(`a new recording could not be started: ${described(error)}`);
      }
    }, 0); // does not keep the object awake
  }

  #settled(name: string, make: () => string): string {
    const stored = this.#store.setting(name);
    if (stored !== undefined) return stored;
    const value = make();
    this.#store.set(name, value);
    return value;
  }
}

function forwardDone(forward: number, { status, body }: ForwardResult): Input {
  return { type: "forward_done", forward, status, body };
}

/**
 * Whether a peer is told of the action or depends on it. This is false if a token only expires or
 * becomes free: if that is not stored, a restore finds the token free for one more resume window.
 */
function mustBeStored(action: Action): boolean {
  return (
    action.type === "put_token" ||
    action.type === "attach_client" ||
    (action.type === "touch_token" && action.state !== TOKEN_FREE)
  );
}

function described(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
