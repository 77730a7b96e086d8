// The engine: a Redis primary that orders messages, keeps tokens and remembers changes for several
// nodes. A pipe: owns two connections, one for scripts and one for messages, and a heartbeat that
// tests both. Has no table of topics, no queue and no retry of a call; decides nothing.
import type { Log } from "../node/log.js";
import type { Reason } from "./redis-errors.js";
import {
  connectionName,
  connectionReason,
  isConnectionUseless,
  otherSidekicks,
  reasonOf,
  SEVERAL_SERVERS,
  serverOf,
  withoutWords,
  wrongWithServer,
} from "./redis-errors.js";
import type { LinkOptions } from "./redis-link.js";
import { RedisLink } from "./redis-link.js";

/** The user of an engine. */
export interface EngineTaker {
  /** A write succeeded, and its message came back. */
  onEngineUp(): void;
  /** No call that is under way will be answered: each may have been performed or not. */
  onEngineDown(): void;
  /** @param status 0: done, with the values of a script; 1: refused, with a text */
  onEngineAnswer(call: number, status: number, values: readonly Uint8Array[]): void;
  /** @param topic empty: for this node's inbox */
  onEngineMessage(topic: Uint8Array, body: Uint8Array): void;
}

export interface RedisOptions extends LinkOptions {
  /** Start of all keys and channels. */
  readonly prefix: string;
  /** 16 hex digits. */
  readonly node: string;
  /** By name. */
  readonly scripts: ReadonlyMap<string, string>;
  /** The time for each answer, and for connecting. */
  readonly timeoutMs: number;
  readonly leaseMs: number;
  readonly messageBytesMax: number;
}

/** A command whose reply has not come yet. */
interface Expected {
  readonly what:
    | "setting"
    | "info"
    | "clients"
    | "script"
    | "beat"
    | "run"
    | "inbox"
    | "join"
    | "leave";
  /** Of a run or join: the hub's number. */
  readonly call?: number;
  /** Replies that are still to come: one for each topic. */
  left?: number;
  readonly script?: string;
  readonly since: number;
}

type NewExpected = Omit<Expected, "since">;

interface Side {
  link: RedisLink | undefined;
  /** The process of the server, as it names itself. */
  server: string;
  expected: Expected[];
}

type Word = string | Uint8Array;

const HEARTBEAT_MS = 1000;
/** With so many heartbeats, one asks for the settings of the server: they can change. */
const BEATS_PER_INFO = 10;
/** A check that runs later than this does not count: this process itself was paused. */
const LATE_MS_MAX = 1000;
const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 5000;
/** After so long without a failure, retries begin with short delays again. */
const STABLE_MS = 10_000;
/** Space for the stamp and the members around a message. No node publishes a longer one. */
const MESSAGE_BYTES_MORE = 1024;
const MESSAGE = Buffer.from("message");
const NO_TOPIC = new Uint8Array(0);

export class Redis {
  readonly #options: RedisOptions;
  readonly #taker: EngineTaker;
  readonly #log: Log;
  readonly #inbox: Buffer;
  /** The channel of a topic is this prefix and the topic's name. */
  readonly #topics: Buffer;
  /** Hashes of the scripts, by name. */
  readonly #hashes = new Map<string, string>();
  /** Prefixes of other Sidekicks that the log has named. */
  readonly #told = new Set<string>();
  readonly #calls: Side = { link: undefined, server: "", expected: [] };
  readonly #messages: Side = { link: undefined, server: "", expected: [] };
  /** Of the limit for connecting, the next heartbeat, or the next attempt: one at a time. */
  #timer: NodeJS.Timeout | undefined;
  #beat = 0;
  /** When the heartbeat was sent that has not come back yet. */
  #beatSince: number | undefined;
  #upSince: number | undefined;
  /** Code of the latest reason in the log. Undefined: none since the engine is up. */
  #whyDown: string | undefined;
  #failures = 0;

  constructor(options: RedisOptions, taker: EngineTaker, log: Log) {
    this.#options = options;
    this.#taker = taker;
    this.#log = log;
    this.#inbox = Buffer.from(`${options.prefix}i:${options.node}`);
    this.#topics = Buffer.from(`${options.prefix}c:`);
  }

  /** Connects, and reconnects for ever. */
  start(): void {
    this.#connect();
  }

  // While the engine is up, each run and join gets one answer, or the engine goes down. Runs are
  // performed in their order, and so are joins and leaves. Calls while it is down do nothing.

  run(call: number, script: string, args: readonly Uint8Array[]): void {
    if (this.#isUp) this.#runScript(script, args, { what: "run", call });
  }

  join(call: number, topics: readonly Uint8Array[]): void {
    if (this.#isUp) this.#sendTopics("SUBSCRIBE", topics, "join", call);
  }

  leave(topics: readonly Uint8Array[]): void {
    if (this.#isUp) this.#sendTopics("UNSUBSCRIBE", topics, "leave");
  }

  /** Replaces the connections for a new hub, which knows nothing of them, without `down`. */
  renew(): void {
    this.#drop();
    this.#retry();
  }

  /** Ends for good, without `down`. */
  end(): void {
    this.#drop();
  }

  /** No script of a hub is under way. */
  get isIdle(): boolean {
    return !this.#isUp || this.#calls.expected.length === 0;
  }

  get #isUp(): boolean {
    return this.#upSince !== undefined;
  }

  // --- connecting ---

  /** Everything is sent at once: the first refusal ends the attempt. */
  #connect(): void {
    const { scripts, timeoutMs, url } = this.#options;
    this.#open(this.#calls, (reply) => this.#onCallReply(reply));
    this.#open(this.#messages, (reply) => this.#onMessageReply(reply));
    const calls = this.#calls;
    for (const side of [calls, this.#messages]) this.#send(side, ["INFO"], { what: "info" });
    if (url.database !== 0)
      this.#send(calls, ["SELECT", String(url.database)], { what: "setting" });
    this.#send(calls, ["CLIENT", "LIST", "TYPE", "pubsub"], { what: "clients" });
    for (const [script, source] of scripts)
      this.#send(calls, ["SCRIPT", "LOAD", source], { what: "script", script });
    this.#send(this.#messages, ["SUBSCRIBE", this.#inbox], { what: "inbox" });
    this.#after(timeoutMs, () => this.#lost(this.#overdue()));
  }

  #open(side: Side, onReply: (reply: unknown) => void): void {
    const { url, prefix, node } = this.#options;
    side.link = new RedisLink(this.#options, {
      onReply,
      onRefused: (error) => this.#onRefused(side, error),
      onLost: (reason) => this.#lost(connectionReason(reason)),
    });
    if (url.password !== "") {
      const words = ["AUTH", ...(url.user === "" ? [] : [url.user]), url.password];
      this.#send(side, words, { what: "setting" });
    }
    const name = connectionName(prefix, node);
    this.#send(side, ["CLIENT", "SETNAME", name], { what: "setting" });
  }

  /** One step of connecting is done. After the last, the first heartbeat tests both connections. */
  #onConfirmed(): void {
    const isOpen = this.#calls.expected.length === 0 && this.#messages.expected.length === 0;
    if (this.#isUp || this.#beatSince !== undefined || !isOpen) return;
    if (this.#calls.server !== this.#messages.server) return this.#lost(SEVERAL_SERVERS);
    this.#sendBeat();
  }

  /** Returns whether the server can be an engine. If not, the connections are lost. */
  #takeInfo(side: Side, info: string): boolean {
    const wrong = wrongWithServer(info);
    if (wrong !== undefined) this.#lost(wrong);
    side.server = serverOf(info);
    return wrong === undefined;
  }

  // --- calls ---

  #runScript(script: string, args: readonly Word[], expected: NewExpected): void {
    // A module of another version may name a script without a hash: the server returns an error.
    const hash = this.#hashes.get(script) ?? script;
    this.#send(this.#calls, ["EVALSHA", hash, "1", this.#options.prefix, ...args], expected);
  }

  #sendTopics(
    command: string,
    topics: readonly Uint8Array[],
    what: "join" | "leave",
    call = 0,
  ): void {
    const channels = topics.map((topic) => Buffer.concat([this.#topics, topic]));
    const left = topics.length;
    this.#send(this.#messages, [command, ...channels], { what, call, left });
  }

  #send(side: Side, words: readonly Word[], expected: NewExpected): void {
    side.expected.push({ ...expected, since: now() });
    side.link?.send(words);
  }

  // --- replies ---

  #onCallReply(reply: unknown): void {
    const expected = this.#calls.expected.shift();
    if (expected === undefined) return this.#lost(UNASKED);
    if (expected.what === "run")
      return this.#taker.onEngineAnswer(expected.call ?? 0, 0, valuesOf(reply));
    if (expected.what === "info" && !this.#takeInfo(this.#calls, String(reply))) return;
    if (expected.what === "clients") this.#tellOthers(String(reply));
    if (expected.what === "script") this.#hashes.set(expected.script ?? "", String(reply));
    this.#onConfirmed();
  }

  #onMessageReply(reply: unknown): void {
    if (Array.isArray(reply) && reply.length === 3 && MESSAGE.equals(bytesOf(reply[0])))
      return this.#onMessage(bytesOf(reply[1]), bytesOf(reply[2]));
    const [expected] = this.#messages.expected;
    if (expected === undefined) return this.#lost(UNASKED);
    expected.left = (expected.left ?? 1) - 1;
    if (expected.left > 0) return;
    this.#messages.expected.shift();
    if (expected.what === "join") return this.#taker.onEngineAnswer(expected.call ?? 0, 0, []);
    if (expected.what === "info" && !this.#takeInfo(this.#messages, String(reply))) return;
    this.#onConfirmed();
  }

  #onRefused(side: Side, reply: string): void {
    const error = withoutWords(reply);
    const expected = side.expected[0];
    const isCall = expected?.what === "run" || expected?.what === "join";
    if (!isCall || isConnectionUseless(error))
      return this.#lost(reasonOf(error, this.#options.url));
    side.expected.shift();
    this.#taker.onEngineAnswer(expected.call ?? 0, 1, [Buffer.from(error)]);
  }

  #onMessage(channel: Buffer, body: Buffer): void {
    const isInbox = channel.equals(this.#inbox);
    if (isInbox && this.#beatSince !== undefined && body.indexOf(`beat ${this.#beat} `) === 0) {
      this.#beatSince = undefined;
      if (!this.#isUp) {
        this.#upSince = now();
        this.#whyDown = undefined;
        const { url, prefix } = this.#options;
        this.#log.info("the engine is up", { engine: url.shown, keys: prefix });
        this.#tickLater();
        return this.#taker.onEngineUp();
      }
    }
    if (!this.#isUp || body.length > this.#options.messageBytesMax + MESSAGE_BYTES_MORE) return;
    this.#taker.onEngineMessage(isInbox ? NO_TOPIC : channel.subarray(this.#topics.length), body);
  }

  /** Nodes that were meant to share an engine, but have another prefix, must not go unnoticed. */
  #tellOthers(clients: string): void {
    const { prefix, url } = this.#options;
    for (const other of otherSidekicks(clients, prefix)) {
      if (this.#told.has(other)) continue;
      this.#told.add(other);
      this.#log.warn("other Sidekicks use this Redis server and share nothing with this one", {
        engine: url.shown,
        keys: prefix,
        others: other,
      });
    }
  }

  // --- the heartbeat ---

  #sendBeat(): void {
    this.#beatSince = now();
    const { node, leaseMs } = this.#options;
    const args = [node, String(leaseMs), String(++this.#beat)];
    this.#runScript("beat", args, { what: "beat" });
    if (this.#beat % BEATS_PER_INFO === 0) this.#send(this.#calls, ["INFO"], { what: "info" });
  }

  #tickLater(): void {
    const due = now() + HEARTBEAT_MS;
    this.#after(HEARTBEAT_MS, () => this.#onTick(now() - due));
  }

  #onTick(lateMs: number): void {
    if (lateMs <= LATE_MS_MAX && this.#isOverdue()) return this.#lost(this.#overdue());
    if (this.#beatSince === undefined) this.#sendBeat();
    this.#tickLater();
  }

  #isOverdue(): boolean {
    const limit = now() - this.#options.timeoutMs;
    const sinces = [this.#calls.expected[0]?.since, this.#messages.expected[0]?.since];
    return [...sinces, this.#beatSince].some((since) => since !== undefined && since <= limit);
  }

  #overdue(): Reason {
    const text = `no answer for ${this.#options.timeoutMs} ms (engine_timeout_ms)`;
    return { code: "timeout", text };
  }

  /** Replaces the timer. */
  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  // --- the end of a connection ---

  /** Both connections end together: everything under way on either of them counts as lost. */
  #lost(reason: Reason): void {
    const wasUp = this.#isUp;
    this.#drop();
    if (this.#whyDown !== reason.code) this.#tellDown(wasUp, reason);
    this.#whyDown = reason.code;
    this.#retry();
    if (wasUp) this.#taker.onEngineDown();
  }

  /** Logs each cause once, not at each attempt. */
  #tellDown(wasUp: boolean, { code, text }: Reason): void {
    const { url, prefix } = this.#options;
    this.#log.warn(
      wasUp ? "the engine is down; reconnecting" : "the engine is unavailable; retrying",
      { engine: url.shown, keys: prefix, code, reason: text },
    );
  }

  #drop(): void {
    if (this.#upSince !== undefined && now() - this.#upSince >= STABLE_MS) this.#failures = 0;
    clearTimeout(this.#timer);
    for (const side of [this.#calls, this.#messages]) {
      side.link?.close();
      side.expected = [];
    }
    this.#beatSince = undefined;
    this.#upSince = undefined;
  }

  /** Random, so that nodes that lost the engine together do not come back together. */
  #retry(): void {
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** this.#failures++);
    this.#after(longest * Math.random(), () => this.#connect());
  }
}

const UNASKED: Reason = { code: "connection", text: "the server sent an unexpected reply" };

function now(): number {
  return performance.now();
}

function bytesOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(String(value ?? ""));
}

/** The values of a script: byte strings. */
function valuesOf(reply: unknown): readonly Buffer[] {
  return Array.isArray(reply) ? reply.map(bytesOf) : [bytesOf(reply)];
}
