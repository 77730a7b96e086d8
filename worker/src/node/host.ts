// Connects the hub to its surroundings: passes inputs to the hub and performs its actions in list
// order. Owns the hub, the clients' sockets, the stored records, the timer and the recording. Makes
// no protocol decision.

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Action, CloseAction, Input, SendAction } from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { text } from "../module/hub.js";
import type { ForwardResult } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import type { ClientSocket, SocketTaker } from "./client-socket.js";
import { now } from "./clock.js";
import type { Forwarder } from "./forwarder.js";
import { Batch, PING_FRAME, textFrame } from "./frames.js";
import type { HttpExchanges } from "./http-exchanges.js";
import type { Log } from "./log.js";
import type { Recorder } from "./recorder.js";
import { bytes, latin1, StoredTokens } from "./stored-tokens.js";

export interface HostOptions {
  readonly hub: HubLike;
  /** Creates another hub after a trap. */
  readonly createHub: () => HubLike;
  readonly forwarder: Forwarder | undefined;
  readonly recorder: Recorder | undefined;
  readonly log: Log;
  readonly pingSeconds: number;
}

const SILENT_ROUNDS_MAX = 2;
const TIMER_MS_MAX = 2 ** 31 - 1;
const CLOSE_INTERNAL_ERROR = 1011;
const CLOSE_TRY_AGAIN_LATER = 1013;

export class Host implements SocketTaker {
  readonly #options: HostOptions;
  readonly #log: Log;
  readonly #exchanges: HttpExchanges;
  readonly #clients = new Map<number, ClientSocket>();
  readonly #tokens = new StoredTokens();
  #hub: HubLike;
  #nextClient = 1;
  #timer: NodeJS.Timeout | undefined;
  #unflushed: ClientSocket[] = [];
  #turn = Batch.start();
  #pingTick = 0;
  readonly #pings: NodeJS.Timeout;
  #warnedOfNoServer = false;
  #isShuttingDown = false;
  #isApplying = false;

  constructor(exchanges: HttpExchanges, options: HostOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#exchanges = exchanges;
    this.#hub = options.hub;
    // One timer for all sockets. Each second it pings a part of them, so that pings are spread out.
    this.#pings = setInterval(() => this.#pingSome(), 1000).unref();
  }

  get limits(): HubLike["limits"] {
    return this.#hub.limits;
  }

  get clients(): ReadonlyMap<number, ClientSocket> {
    return this.#clients;
  }

  /** Call once, before the first input. */
  start(): void {
    this.#startRecording();
  }

  /** Passes one input to the hub and performs the resulting actions. */
  apply(input: Input): void {
    if (this.#isApplying) {
      // Performing an action has caused an event immediately. The event waits until the current
      // actions are done, because a call would invalidate their views.
      setImmediate(() => this.apply(input));
      return;
    }
    this.#isApplying = true;
    const at = now();
    try {
      this.#perform(this.#hub.handle(at, input));
    } catch (error) {
      this.#recover(error, at, input);
    } finally {
      this.#isApplying = false;
    }
  }

  bodyBytesMax(method: string, path: string, authorization: string): number {
    try {
      return this.#hub.bodyBytesMax(method, path, authorization);
    } catch (error) {
      this.#recover(error, now(), undefined);
      return 0;
    }
  }

  /** Takes a socket that has just been accepted. */
  open(socket: ClientSocket, stream: Duplex): void {
    while (this.#clients.has(this.#nextClient) || this.#nextClient === 0)
      this.#nextClient = (this.#nextClient + 1) >>> 0;
    const client = this.#nextClient;
    this.#nextClient = (client + 1) >>> 0;
    this.#clients.set(client, socket);
    socket.open(this, client, stream);
    this.#log.debug("socket opened", { client, remote: (stream as Socket).remoteAddress });
    this.apply({ type: "client_opened", client });
  }

  onFrame(socket: ClientSocket, bytes: Buffer): void {
    if (!socket.ending) this.apply({ type: "client_frame", client: socket.client, bytes });
  }

  onError(socket: ClientSocket, error: Error): void {
    this.#log.debug("socket error", { client: socket.client, error: error.message });
  }

  onClosed(socket: ClientSocket, code: number): void {
    if (!this.#clients.delete(socket.client)) return;
    this.#log.debug("socket closed", { client: socket.client, code });
    this.apply({ type: "client_closed", client: socket.client });
  }

  /** From now on the hub rejects messages for the app server; forwards in flight continue. */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.apply({ type: "shutting_down" });
  }

  destroy(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#pings);
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      try {
        this.#performOne(action);
      } catch (error) {
        // A bug of this host; it must not close every socket.
        this.#log.error("action failed", {
          action: action.type,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
      }
    }
    // After the actions: the next call on the hub invalidates their views.
    if (this.#options.recorder?.active === true) this.#options.recorder.write(this.#hub.recorded());
  }

  #performOne(action: Action): void {
    switch (action.type) {
      case "put_token":
        this.#tokens.put(action);
        return;
      case "touch_token":
        this.#tokens.touch(action);
        return;
      case "erase_token":
        this.#tokens.erase(action);
        return;
      case "attach_client":
        this.#clients.get(action.client)?.store(latin1(action.record), action.append !== 0);
        return;
      case "send":
        this.#send(action);
        return;
      case "respond":
        this.#exchanges.respond(action);
        return;
      case "forward":
        this.#forward(action.forward, Buffer.from(action.body), action.timeout_ms);
        return;
      case "close":
        this.#close(action);
        return;
      case "set_timer":
        this.#setTimer(action.at_ms);
        return;
    }
  }

  #send(action: SendAction): void {
    const frame = textFrame(action.text);
    for (const client of action.clients) this.#append(this.#clients.get(client), frame);
  }

  #close({ client, code, reason }: CloseAction): void {
    const fields = { client, code, reason: text(reason) };
    if (code === CLOSE_TRY_AGAIN_LATER) this.#log.warn("the Sidekick closes a socket", fields);
    else this.#log.debug("the Sidekick closes a socket", fields);
    this.#clients.get(client)?.end(code, Buffer.from(reason));
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
    const bytesMax = this.limits.client_buffer_bytes_max;
    for (const socket of sockets) {
      const buffered = socket.flush(bytesMax);
      if (buffered === 0 || socket.ending) continue;
      this.apply({
        type: "client_lagging",
        client: socket.client,
        buffered_bytes: Math.min(buffered, 0xffffffff),
      });
    }
  }

  #forward(forward: number, body: Buffer, timeoutMs: number): void {
    const hub = this.#hub;
    const done = ({ status, body: answer }: ForwardResult) => {
      // Ignore answers to forwards of a previous hub.
      if (hub === this.#hub) this.apply({ type: "forward_done", forward, status, body: answer });
    };
    const { forwarder } = this.#options;
    if (forwarder !== undefined) {
      forwarder.send(body, timeoutMs, done);
      return;
    }
    if (!this.#warnedOfNoServer)
      this.#log.warn("a client sent a message, but no app server is configured: set --server-url");
    this.#warnedOfNoServer = true;
    setImmediate(() => done(unanswered("no_app_server")));
  }

  #setTimer(atMs: number): void {
    clearTimeout(this.#timer);
    if (atMs === 0) return;
    const delay = Math.min(Math.max(atMs - now(), 0), TIMER_MS_MAX);
    this.#timer = setTimeout(() => this.apply({ type: "timer_fired" }), delay).unref();
  }

  #pingSome(): void {
    const { pingSeconds } = this.#options;
    this.#pingTick = (this.#pingTick + 1) % pingSeconds;
    for (const [client, socket] of this.#clients) {
      if (client % pingSeconds !== this.#pingTick || socket.ending) continue;
      if (socket.silentRounds() > SILENT_ROUNDS_MAX) socket.terminate();
      else this.#append(socket, PING_FRAME);
    }
  }

  #startRecording(): void {
    const { recorder } = this.#options;
    if (recorder === undefined) return;
    recorder.write(this.#hub.describe());
    recorder.write(NEWLINE);
    this.#hub.record(true);
  }

  /**
   * The hub trapped. Closes the client that sent the input, and continues with a new hub restored
   * from the stored records.
   */
  #recover(error: unknown, at: number, input: Input | undefined): void {
    this.#log.error("the hub trapped and is replaced; please report this", {
      input: input?.type,
      error: error instanceof Error ? error.message : String(error),
    });
    if (input !== undefined && "client" in input) {
      this.#clients.get(input.client)?.end(CLOSE_INTERNAL_ERROR, "internal error");
    } else if (input?.type === "http_request") {
      this.#exchanges.fail(input.request);
    }
    clearTimeout(this.#timer);
    if (this.#restore(at, input)) return;
    // The records themselves cause the trap. Dropping all state is better than serving nobody.
    this.#log.error(
      "the stored records cannot be restored: dropping all tokens and closing all sockets",
    );
    this.#tokens.clear();
    for (const socket of this.#clients.values()) socket.end(CLOSE_INTERNAL_ERROR, "internal error");
    if (!this.#restore(at, undefined)) throw error;
  }

  /** @param input the input at which the previous hub trapped: the last line of its trace */
  #restore(at: number, input: Input | undefined): boolean {
    this.#hub = this.#options.createHub();
    if (input !== undefined) this.#options.recorder?.write(this.#hub.recordInput(at, input));
    this.#startRecording();
    try {
      for (const token of this.#tokens.inputs()) this.#perform(this.#hub.handle(at, token));
      for (const [client, socket] of this.#clients) {
        if (!socket.ending)
          this.#perform(
            this.#hub.handle(at, { type: "restore_client", client, record: bytes(socket.record) }),
          );
      }
      this.#perform(this.#hub.handle(at, { type: "timer_fired" }));
      if (this.#isShuttingDown) this.#perform(this.#hub.handle(at, { type: "shutting_down" }));
      return true;
    } catch (error) {
      this.#log.error("restoring failed", {
        error: error instanceof Error ? error.message : String(error),
      });
      return false;
    }
  }
}

const NEWLINE = Buffer.from("\n");
