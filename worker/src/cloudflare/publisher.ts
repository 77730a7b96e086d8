// The Worker's own hub in front of shards. It has no clients; it passes the app server's publishes
// and registrations to the shards. So a POST wakes only the gateways that get its message. All
// requests of an isolate share the hub; each performs the calls that follow from its input.
import type * as border from "../module/border.generated.js";
import { ConfigError, text } from "../module/hub.js";
import type { Io } from "../session/io.js";
import { randomDigits } from "../session/random.js";
import { Session } from "../session/session.js";
import { createHub } from "./create-hub.js";
import { answerOf } from "./http.js";
import { logError, logLine, logTold } from "./log.js";
import { limitOf, scaledConfig, shardStub } from "./scale.js";
import type { Env, HubSettings, Scale } from "./settings.js";
import { checked, logRefused } from "./shard-links.js";
import type { Reply } from "./shard-object.js";
import { within } from "./within.js";

const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 2000;
/** A Worker may go on for 30 s after its answer. */
const RETRIES_MS_MAX = 20_000;
const SLACK_MS = 1000;
/** Of a misconfigured shard, in place of a time. */
const BY_NEXT_REQUEST = 0;

export class Publisher implements Io {
  readonly session: Session;
  readonly recording = undefined;
  readonly createHub: () => ReturnType<typeof createHub>;
  readonly #env: Env;
  readonly #name: string;
  readonly #scale: Scale;
  readonly #timeoutMs: number;
  readonly #waitMs: number;
  /** Of the request whose input is being applied: it performs what follows. */
  #ctx: ExecutionContext | undefined;
  #nextRequest = 1;
  readonly #exchanges = new Map<number, Exchange>();
  /** Counts hubs: an answer to a call of an earlier one is ignored. Each numbers from 1. */
  #hubs = 0;
  /** For each unreachable shard, the time until which a request retries. */
  readonly #tried = new Map<number, number>();

  /** @throws ConfigError */
  constructor(env: Env, name: string, settings: HubSettings, scale: Scale) {
    this.#env = env;
    this.#name = name;
    this.#scale = scale;
    this.#timeoutMs = limitOf(settings, "engine_timeout_ms");
    this.#waitMs = limitOf(settings, "engine_wait_ms");
    const config = scaledConfig(settings, scale, randomDigits());
    const hashSeed = randomDigits();
    this.createHub = () => {
      this.#hubs++;
      this.#tried.clear();
      // For a hub that replaces another one. It has joined nothing, so it has missed nothing.
      if (this.session !== undefined) this.#startShards();
      return createHub({ ...settings, config }, hashSeed);
    };
    this.session = new Session(this);
    this.#startShards();
  }

  /** @throws ConfigError if the shards have other settings */
  async answer(input: border.HttpRequestInput, ctx: ExecutionContext): Promise<Response> {
    const request = this.#nextRequest;
    this.#nextRequest = (request + 1) >>> 0 || 1;
    const answer = new Promise<() => Response>((resolve, reject) =>
      this.#exchanges.set(request, { resolve, reject }),
    );
    for (const [shard, until] of this.#tried)
      if (until < Date.now()) ctx.waitUntil(this.#reach(shard, ctx));
    this.#apply({ ...input, request }, ctx);
    try {
      // The hub answers in time, unless the request with its timer has ended.
      const waited = within(this.#timeoutMs + this.#waitMs + SLACK_MS, answer).catch(() => {
        this.#apply({ type: "timer_fired" }, ctx);
        return within(SLACK_MS, answer);
      });
      return (await waited)();
    } finally {
      this.#exchanges.delete(request);
    }
  }

  #startShards(): void {
    for (let shard = 0; shard < this.#scale.shards; shard++)
      this.session.apply({ type: "engine_up", shard, kept: 1 });
  }

  #apply(input: border.Input, ctx: ExecutionContext): void {
    this.#ctx = ctx;
    this.session.apply(input);
    this.#ctx = undefined;
  }

  engine_run({ call, shard, script, args }: border.EngineRunAction): void {
    const ctx = this.#ctx!;
    const name = text(script);
    const copies = args.map((arg) => arg.slice());
    const place = { hub: this.#name, number: shard };
    const hub = this.#hubs;
    const asked: Promise<Reply> = shardStub(this.#env, place).run(place, name, copies);
    const work = within(this.#timeoutMs, asked)
      .then(checked)
      .then(
        ({ status, values }) => {
          logRefused(place, status, values);
          if (hub === this.#hubs) this.#apply({ type: "engine_answer", call, status, values }, ctx);
        },
        (error: unknown) => {
          if (hub === this.#hubs) this.#lost(shard, error, ctx);
        },
      );
    ctx.waitUntil(work);
  }

  /** The hub gets no answer to its calls on this shard. */
  #lost(shard: number, error: unknown, ctx: ExecutionContext): void {
    if (error instanceof ConfigError) this.#failAll(error);
    if (this.#tried.has(shard)) return; // an answer to an earlier call
    const reason = error instanceof Error ? error.message : String(error);
    logLine("warn", "a shard cannot be reached; retrying", { hub: this.#name, shard, reason });
    this.#apply({ type: "engine_down", shard }, ctx);
    ctx.waitUntil(this.#reach(shard, ctx));
  }

  /** Retries until the shard answers, is misconfigured, or this request must end. */
  async #reach(shard: number, ctx: ExecutionContext): Promise<void> {
    const until = Date.now() + RETRIES_MS_MAX;
    this.#tried.set(shard, until);
    const place = { hub: this.#name, number: shard };
    for (let wait = RETRY_MS_FIRST; Date.now() < until; wait = Math.min(2 * wait, RETRY_MS_MAX)) {
      await scheduler.wait(wait * Math.random());
      const asked: Promise<Reply> = shardStub(this.#env, place).ready(place);
      const failure = await within(this.#timeoutMs, asked)
        .then(checked)
        .then(
          () => undefined,
          (error: unknown) => error,
        );
      if (this.#tried.get(shard) !== until) return; // another request has tried since
      if (failure instanceof ConfigError) {
        this.#tried.set(shard, BY_NEXT_REQUEST);
        return this.#failAll(failure);
      }
      if (failure !== undefined) continue;
      this.#tried.delete(shard);
      return this.#apply({ type: "engine_up", shard, kept: 1 }, ctx);
    }
  }

  respond(action: border.RespondAction): void {
    logTold("rejected a request", action.code, { status: action.status });
    this.#exchanges.get(action.request)?.resolve(answerOf(action));
  }

  /** All shards have the same settings. */
  #failAll(error: ConfigError): void {
    for (const { reject } of this.#exchanges.values()) reject(error);
  }

  set_timer({ at_ms }: border.SetTimerAction): void {
    const ms = at_ms - Date.now();
    const ctx = this.#ctx;
    // A later one, or one without a request, is about tokens that this hub does not have.
    if (ctx === undefined || ms > this.#waitMs + SLACK_MS) return;
    const work = scheduler
      .wait(Math.max(0, ms))
      .then(() => this.#apply({ type: "timer_fired" }, ctx));
    ctx.waitUntil(work);
  }

  report(message: string, error: unknown, at = {}): void {
    logError(message, error, at);
  }

  now = () => Date.now();

  // Actions for clients, which this hub does not have.
  storedTokens = () => [];
  openClients = () => [];
  forgetTokens = () => {};
  put_token = () => {};
  touch_token = () => {};
  erase_token = () => {};
  attach_client = () => {};
  send = () => {};
  forward = () => {};
  cancel_forward = () => {};
  close = () => {};
}

interface Exchange {
  readonly resolve: (answer: () => Response) => void;
  readonly reject: (error: unknown) => void;
}
