// A shard: the Durable Object that orders the messages of its topics and keeps its tokens for the
// gateways. It maps calls to the Shard of the module, stores its rows, and delivers what nodes
// receive. Like the other object it hibernates: no timer stays, and no call is awaited for long.
import { DurableObject } from "cloudflare:workers";
import { ConfigError } from "../module/hub.js";
import type { Shard, ShardAnswer } from "../module/shard.js";
import { randomDigits } from "../session/random.js";
import { joined } from "./bytes.js";
import { createShard } from "./create-shard.js";
import { logError } from "./log.js";
import type { Delivered, Mail } from "./outbox.js";
import type { Pushed } from "./outboxes.js";
import { Outboxes } from "./outboxes.js";
import type { Place } from "./scale.js";
import { epochOf, gatewayOf, gatewayStub, limitOf, nodeOf, scaledConfig } from "./scale.js";
import type { Env, Scale } from "./settings.js";
import { OBJECTS_MAX, readScaled } from "./settings.js";
import { ShardRows } from "./store.js";
import { within } from "./within.js";

/** Prefix of the settings for pending gaps: by gateway, how often its delivery failed. */
const GAP = "gap/";
/** The names of settings. */
const ASK_AT = "ask_at";
/** Prefix of the settings for the connection of each gateway. 0: from before these numbers. */
const CONNECTION = "connection/";
const GATEWAYS = "gateways";
const ASK_MS = 3_600_000;
const ASKED_AT_ONCE = 500;
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
/** A character for each byte. */
const latin1 = new TextDecoder("latin1");

/** The answer to a call, as from the module's Shard. */
export interface Reply extends ShardAnswer {
  /** The text of a ConfigError, which would lose its class on the way. */
  readonly misconfigured?: string;
}

const DONE: Reply = { status: 0, values: [] };

/** A connection of a gateway, which numbers them: a call of an earlier one may arrive late. */
export interface Caller {
  readonly node: string;
  readonly connection: number;
}

export class SidekickShard extends DurableObject<Env> {
  /** How long an answer waits for the deliveries that follow from its call. Others for tests. */
  protected readonly deliveryMsMax: number = 1000;
  /** Set while the object is awake. */
  #awake: Awake | undefined;

  // Each is a method of the module's Shard.

  /**
   * The answer comes after its deliveries, if these do not take long.
   * @param caller undefined: the Worker, which has no connection
   */
  run(place: Place, script: string, args: readonly Uint8Array[], caller?: Caller): Promise<Reply> {
    return this.#answer(place, (awake) => {
      if (caller !== undefined) awake.check(caller);
      return awake.run(script, args, this.deliveryMsMax);
    });
  }

  /** A gateway connects: it has joined nothing. Status 1: it has this later connection. */
  attach(place: Place, caller: Caller): Promise<Reply> {
    return this.#answer(place, (awake) => awake.attach(caller));
  }

  join(place: Place, caller: Caller, topics: readonly Uint8Array[]): Promise<Reply> {
    return this.#answer(place, (awake) =>
      awake.known(caller, (shard, node) => shard.join(node, topics)),
    );
  }

  leave(place: Place, caller: Caller, topics: readonly Uint8Array[]): Promise<Reply> {
    return this.#answer(place, (awake) =>
      awake.known(caller, (shard, node) => shard.leave(node, topics)),
    );
  }

  replaceJoins(place: Place, caller: Caller, topics: readonly Uint8Array[]): Promise<Reply> {
    return this.#answer(place, (awake) =>
      awake.known(caller, (shard, node) => shard.replaceJoins(node, topics)),
    );
  }

  /** Whether this shard can be reached. */
  ready(place: Place): Promise<Reply> {
    return this.#answer(place, () => DONE);
  }

  override alarm(): void {
    try {
      this.#wake().alarm();
    } catch (error) {
      // As for the other object: a retry would fail the same way.
      if (!(error instanceof ConfigError)) throw error;
      logError("the alarm failed", error);
    }
  }

  /** For tests: replaces the module's shard. */
  protected createShard(server: string, epoch: string, hashSeed: string): Shard {
    return createShard(server, epoch, hashSeed);
  }

  async #answer(place: Place, ask: (awake: Awake) => Reply | Promise<Reply>): Promise<Reply> {
    try {
      return await ask(this.#wake(place));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { ...DONE, misconfigured: error.message };
    }
  }

  #wake(place?: Place): Awake {
    this.#awake ??= new Awake(this.ctx, this.env, place, (...args) => this.createShard(...args));
    return this.#awake;
  }
}

/** The object while it is awake. */
class Awake implements Mail {
  readonly timeoutMs: number;
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #rows: ShardRows;
  readonly #place: Place;
  readonly #scale: Scale;
  /** How long a hold lasts unless its gateway renews it. */
  readonly #keepMs: number;
  readonly #create: () => Shard;
  /** Undefined after a trap or a failed write; the next call restores another one. */
  #shard: Shard | undefined;
  readonly #outboxes = new Outboxes(this);
  /** The latest of each gateway. */
  readonly #connections = new Map<string, number>();
  /** The deliveries that the latest call has queued. */
  #pushed: readonly Pushed[] = [];
  #alarmAt = 0;
  /** Whether the current alarm time is known: after a wake, an alarm from before may be set. */
  #alarmIsKnown = false;
  #retryAt = Infinity;
  /** When to ask gateways for the tokens that they hold; Infinity: none is held. */
  #askAt: number;

  constructor(
    ctx: DurableObjectState,
    env: Env,
    place: Place | undefined,
    create: (server: string, epoch: string, hashSeed: string) => Shard,
  ) {
    this.#ctx = ctx;
    this.#env = env;
    this.#rows = new ShardRows(ctx.storage);
    const stored = this.#rows.settings;
    const hub = stored.settled("hub", () => place?.hub ?? "");
    const number = Number(stored.settled("number", () => String(place?.number ?? 0)));
    this.#place = { hub, number };
    const settings = readScaled(env, hub);
    this.#scale = settings.scale;
    stored.checkShards(settings.scale);
    this.timeoutMs = limitOf(settings, "engine_timeout_ms");
    this.#keepMs = Number(scaledConfig(settings, settings.scale, "")["engine_keep_ms"]);
    const hashSeed = stored.settled("hash_seed", randomDigits);
    this.#create = () => create(`${hub}:s${number}`, epochOf(settings.scale), hashSeed);
    this.#askAt = this.#storedAskAt;
    for (const [node, connection] of stored.startingWith(CONNECTION))
      this.#connections.set(node, Number(connection));
    for (const [node, tries] of stored.startingWith(GAP))
      this.#outboxes.restore(node, Number(tries));
    this.#outboxes.retry(Date.now());
  }

  // --- calls ---

  async run(script: string, args: readonly Uint8Array[], waitMs: number): Promise<Reply> {
    const answer = this.change((shard) => shard.run(Date.now() * 1000, script, args));
    const pushed = this.#pushed;
    if (pushed.length === 0) return answer;
    await within(waitMs, Promise.all(pushed.map(({ done }) => done))).catch(() => {
      for (const { outbox } of pushed) outbox.noteLate();
    });
    return answer;
  }

  attach({ node, connection }: Caller): Reply {
    const latest = this.#connectionOf(node);
    if (connection <= latest) return { status: 1, values: [encoder.encode(String(latest))] };
    // A removed one, which is soon detached once more.
    if (gatewayOf(node) >= this.#scale.gateways)
      this.#rows.settings.put(GATEWAYS, `${OBJECTS_MAX}`);
    this.change((shard) => {
      shard.detach(node);
      shard.attach(node);
      // Its lease never expires, so no other node takes its tokens without asking it.
      shard.run(Date.now() * 1000, "beat", [node, "0", "0"]);
      shard.takePublications(); // the heartbeat
    });
    this.#outboxes.reset(node);
    this.#rows.settings.put(CONNECTION + node, String(connection));
    this.#connections.set(node, connection);
    return DONE;
  }

  /** @throws if the gateway has another connection or none; it then connects again */
  check({ node, connection }: Caller): void {
    if (connection !== this.#connectionOf(node))
      throw new Error("the gateway has another connection to this shard");
  }

  /** @throws as check does */
  known(caller: Caller, call: (shard: Shard, node: string) => boolean): Reply {
    this.check(caller);
    if (this.change((shard) => call(shard, caller.node))) return DONE;
    throw new Error("the shard does not know this gateway");
  }

  #connectionOf(node: string): number {
    return this.#connections.get(node) ?? 0;
  }

  alarm(): void {
    this.#alarmAt = 0;
    this.#alarmIsKnown = true;
    this.#retryAt = Infinity;
    const asks = this.#askAt <= Date.now();
    // Not now once more. It is stored when they have been asked.
    if (asks) this.#askAt = Date.now() + ASK_MS;
    this.change((shard) => shard.tick(Date.now() * 1000));
    if (asks) this.#ctx.waitUntil(this.#askForTokens());
    this.#outboxes.retry(Date.now());
  }

  /**
   * A gateway may hold a token for a client that has disconnected, after a deployment or if the
   * release was lost. Asked for a token that none of its clients has, it releases the token.
   */
  async #askForTokens(): Promise<void> {
    const all = this.change((shard) => shard.holds());
    this.#setAskAt(all.length === 0 ? Infinity : Date.now() + ASK_MS);
    const heldTo = Date.now() - ASK_MS + this.#keepMs;
    const holds = all.filter(({ expiresAt }) => expiresAt <= heldTo);
    for (let i = 0; i < holds.length; i += ASKED_AT_ONCE) {
      const asked = holds.slice(i, i + ASKED_AT_ONCE).map(({ node, session, token }) => {
        const body = joined([encoder.encode("asked "), session, encoder.encode(" "), token]);
        return { nodes: [node], topic: NOTHING, body };
      });
      await Promise.all(this.#outboxes.push(asked).map(({ done }) => done));
    }
  }

  #setAskAt(at: number): void {
    this.#askAt = at;
    if (at === Infinity) this.#rows.settings.erase(ASK_AT);
    else this.#rows.settings.put(ASK_AT, String(at));
    this.#setAlarm(0);
  }

  /** Makes one call on the shard, then stores rows, delivers messages and sets the alarm. */
  change<T>(call: (shard: Shard) => T): T {
    try {
      const shard = this.#shard ?? this.#restore();
      const result = call(shard);
      this.#settle(shard);
      return result;
    } catch (error) {
      // Its memory may differ from the stored rows.
      this.#shard = undefined;
      this.#alarmAt = 0;
      this.#alarmIsKnown = false;
      this.#askAt = this.#storedAskAt;
      throw error;
    }
  }

  get #storedAskAt(): number {
    return Number(this.#rows.settings.get(ASK_AT) ?? Infinity);
  }

  #restore(): Shard {
    const shard = this.#create();
    for (const { key, value } of this.#rows.all()) {
      if (!shard.restore(key, value))
        logError("a stored row is ignored", new Error("it is damaged, or of a newer version"));
    }
    shard.restored(Date.now() * 1000);
    const { settings } = this.#rows;
    const known = Number(settings.get(GATEWAYS) ?? OBJECTS_MAX);
    const left = this.#detachRemoved(shard, known);
    this.#settle(shard);
    // Only now: if a row was not written, the next restore must detach them.
    if (known !== left) settings.put(GATEWAYS, String(left));
    this.#shard = shard;
    return shard;
  }

  /**
   * After SIDEKICK_GATEWAYS was lowered. A gateway that still holds a token stays until later.
   * @param known how many gateways there may be
   * @returns how many there may be now
   */
  #detachRemoved(shard: Shard, known: number): number {
    const { gateways } = this.#scale;
    if (known === gateways) return known;
    const holders = new Set(shard.holds().map(({ node }) => node));
    let left = gateways;
    for (let number = gateways; number < known; number++) {
      const node = nodeOf(number);
      if (holders.has(node)) left = number + 1;
      if (holders.has(node) || !shard.isAttached(node)) continue;
      shard.detach(node);
      this.#outboxes.reset(node);
    }
    return left;
  }

  /** Rows first: the runtime holds output back until they are stored. */
  #settle(shard: Shard): void {
    // Of each row the last value, since each write is billed.
    const rows = new Map(shard.takeRows().map((row) => [latin1.decode(row.key), row]));
    if (rows.size > 0)
      this.#ctx.storage.transactionSync(() => {
        for (const row of rows.values()) this.#rows.write(row);
        if (this.#askAt === Infinity) this.#setAskAt(Date.now() + ASK_MS);
      });
    this.#pushed = this.#outboxes.push(shard.takePublications());
    this.#setAlarm(shard.alarmAt());
  }

  #setAlarm(shardAt: number): void {
    const at = Math.min(shardAt === 0 ? Infinity : shardAt, this.#retryAt, this.#askAt);
    // An alarm that is set for an earlier time is kept, also one from before this wake: firing
    // early is harmless, and a write is billed.
    const isSet = this.#alarmAt !== 0 && this.#alarmAt <= at;
    if (isSet || at === Infinity) return;
    this.#alarmAt = at;
    if (this.#alarmIsKnown) return void this.#ctx.storage.setAlarm(at);
    this.#ctx.waitUntil(
      this.#ctx.storage.getAlarm().then((current) => {
        this.#alarmIsKnown = true;
        if (current === null || current > this.#alarmAt)
          void this.#ctx.storage.setAlarm(this.#alarmAt);
      }),
    );
  }

  // --- for outboxes ---

  async deliver(node: string, messages: readonly Delivered[], isGap: boolean): Promise<void> {
    const { hub, number } = this.#place;
    const gateway = { hub, number: gatewayOf(node) };
    const from = { shard: number, connection: this.#connectionOf(node) };
    await gatewayStub(this.#env, gateway, this.#scale).deliver(gateway, from, messages, isGap);
  }

  storeGap(node: string, tries: number | undefined): void {
    const { settings } = this.#rows;
    if (tries === undefined) settings.erase(GAP + node);
    else settings.put(GAP + node, String(tries));
  }

  retryAt(at: number): void {
    this.#retryAt = Math.min(this.#retryAt, at);
    this.#setAlarm(this.#shard?.alarmAt() ?? 0);
  }

  report(message: string, error: unknown): void {
    logError(message, error, { hub: this.#place.hub, shard: String(this.#place.number) });
  }
}
