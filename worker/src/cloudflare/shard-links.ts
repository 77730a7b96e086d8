// A gateway's connections to its shards: performs the hub's calls on them, and passes answers and
// messages to the session. A connection ends with the first call that fails, and with a gap in the
// shard's deliveries; the gateway then reconnects. It outlives the memory of both objects.
import type * as border from "../module/border.generated.js";
import { ConfigError, text } from "../module/hub.js";
import type { Session } from "../session/session.js";
import { logError, logLine, logRarely } from "./log.js";
import type { Delivered } from "./outbox.js";
import type { Place } from "./scale.js";
import { nodeOf, shardStub } from "./scale.js";
import type { Env, Scale } from "./settings.js";
import type { Caller, Reply, SidekickShard } from "./shard-object.js";
import type { Settings } from "./store.js";
import { within } from "./within.js";

const RETRY_MS_FIRST = 50;
/** For waits up to this, the object stays awake; for longer ones it sets an alarm. */
const RETRY_MS_AWAKE = 5000;
const RETRY_MS_MAX = 60_000;
/** Prefix of the settings for the latest connection to each shard. */
const CONNECTED = "connected/";
/** Begins the value if that has ended. */
const DOWN = "-";
const JOINS = "joins";

/** From whom a delivery is. */
export interface ShardConnection {
  readonly shard: number;
  readonly connection: number;
}

type ShardStub = DurableObjectStub<SidekickShard>;

interface Link {
  readonly place: Place;
  stub: ShardStub;
  isUp: boolean;
  /** Rises with each attempt to connect. Late calls and answers of earlier ones are ignored. */
  connection: number;
  /** Attempts to connect that have failed since it was up. */
  failures: number;
  /** An alarm makes the next attempt at this time. */
  retryAt: number;
  /** Whether the next join contains all topics. */
  isReplacing: boolean;
}

export interface LinksOptions {
  readonly ctx: DurableObjectState;
  readonly env: Env;
  readonly gateway: Place;
  readonly scale: Scale;
  readonly stored: Settings;
  readonly session: Session;
  readonly timeoutMs: number;
  /** Sets the alarm for that time, or an earlier one. */
  readonly alarmAt: (ms: number) => void;
}

export class ShardLinks {
  readonly #options: LinksOptions;
  readonly #node: string;
  readonly #links: Link[];
  #callsUnderWay = 0;

  constructor(options: LinksOptions) {
    this.#options = options;
    const { env, gateway, scale } = options;
    this.#node = nodeOf(gateway.number);
    this.#links = Array.from({ length: scale.shards }, (_, number) => {
      const place = { hub: gateway.hub, number };
      const stub = shardStub(env, place);
      const state = { isUp: false, failures: 0, retryAt: 0, isReplacing: false };
      return { place, stub, connection: 0, ...state };
    });
  }

  /** Whether no call is under way. */
  get isIdle(): boolean {
    return this.#callsUnderWay === 0;
  }

  /** After a wake: the connections from before still exist, and have missed nothing. */
  start(): void {
    const { stored } = this.#options;
    const known = new Map(stored.startingWith(CONNECTED));
    for (const link of this.#links) {
      const connection = known.get(String(link.place.number)) ?? DOWN;
      link.connection = Number(connection.replace(DOWN, ""));
      if (connection.startsWith(DOWN)) this.#connect(link);
      else this.#up(link, true);
    }
  }

  /** After the hub was replaced: the new one knows none of the calls of the last one. */
  renew(): void {
    for (const link of this.#links) {
      link.isUp = false;
      this.#storeDown(link);
      this.#connect(link);
    }
  }

  /** Time of the alarm for the next attempt; Infinity: none is needed. */
  get retryAt(): number {
    return Math.min(...this.#links.map(({ retryAt }) => retryAt || Infinity));
  }

  onAlarm(): void {
    for (const link of this.#links) {
      if (link.retryAt === 0) continue;
      if (link.retryAt <= Date.now()) this.#connect(link);
      else this.#options.alarmAt(link.retryAt);
    }
  }

  // --- actions of the hub ---

  run({ call, shard, script, args }: border.EngineRunAction): void {
    const name = text(script);
    const copies = args.map((arg) => arg.slice());
    this.#call(shard, call, (link) => {
      return link.stub.run(link.place, name, copies, this.#caller(link));
    });
  }

  join({ call, shard, topics }: border.EngineJoinAction): void {
    const link = this.#links[shard]!;
    const method = link.isReplacing ? "replaceJoins" : "join";
    const copies = topics.map((topic) => topic.slice());
    this.#call(shard, call, (link) => link.stub[method](link.place, this.#caller(link), copies));
  }

  leave({ shard, topics }: border.EngineLeaveAction): void {
    const copies = topics.map((topic) => topic.slice());
    this.#call(shard, undefined, (link) => {
      return link.stub.leave(link.place, this.#caller(link), copies);
    });
  }

  #caller({ connection }: Link): Caller {
    return { node: this.#node, connection };
  }

  // --- deliveries of the shards ---

  deliver(
    { shard, connection }: ShardConnection,
    messages: readonly Delivered[],
    isGap: boolean,
  ): void {
    const link = this.#links[shard];
    // Of an earlier connection: this gateway has asked for what it missed since then.
    if (link === undefined || connection < link.connection) return;
    if (isGap) {
      this.#down(link);
      return this.#connect(link);
    }
    for (const { topic, body } of messages) {
      link.isReplacing = topic.byteLength === 0 && text(body) === JOINS;
      this.#options.session.apply({ type: "engine_message", shard, topic, body });
      link.isReplacing = false;
    }
  }

  // --- connections ---

  #call(shard: number, call: number | undefined, ask: (link: Link) => Promise<Reply>): void {
    const link = this.#links[shard]!;
    if (!link.isUp) return;
    const { connection } = link;
    const { ctx, session, timeoutMs } = this.#options;
    this.#callsUnderWay++;
    const end = (then: () => void) => {
      this.#callsUnderWay--;
      if (link.connection === connection) then();
    };
    const asked = within(timeoutMs, ask(link)).then(checked);
    const ended = asked.then(
      ({ status, values }) =>
        end(() => {
          logRefused(link.place, status, values);
          if (call !== undefined) session.apply({ type: "engine_answer", call, status, values });
        }),
      (error: unknown) => end(() => this.#lost(link, error)),
    );
    ctx.waitUntil(ended);
  }

  #connect(link: Link): void {
    const connection = ++link.connection;
    link.retryAt = 0;
    const { ctx, timeoutMs } = this.#options;
    const attached: Promise<Reply> = link.stub.attach(link.place, this.#caller(link));
    ctx.waitUntil(
      within(timeoutMs, attached)
        .then(checked)
        .then(
          ({ status, values }) => {
            if (link.connection !== connection) return;
            if (status !== 0) return this.#outnumbered(link, Number(text(values[0]!)));
            this.#store(link, String(connection));
            this.#up(link, false);
          },
          (error: unknown) => {
            if (link.connection === connection) this.#lost(link, error);
          },
        ),
    );
  }

  #up(link: Link, isKept: boolean): void {
    link.isUp = true;
    if (link.failures > 0) this.#tell("a shard can be reached again", link, {});
    link.failures = 0;
    const shard = link.place.number;
    this.#options.session.apply({ type: "engine_up", shard, kept: isKept ? 1 : 0 });
  }

  #down(link: Link): void {
    link.connection++;
    if (!link.isUp) return;
    link.isUp = false;
    this.#storeDown(link);
    this.#options.session.apply({ type: "engine_down", shard: link.place.number });
  }

  #storeDown(link: Link): void {
    this.#store(link, `${DOWN}${link.connection}`);
  }

  /** If that fails, the connection continues in memory: clients need the shard all the same. */
  #store({ place: { hub, number } }: Link, value: string): void {
    try {
      this.#options.stored.put(CONNECTED + number, value);
    } catch (error) {
      logError("a connection could not be stored", error, { hub, shard: String(number) });
    }
  }

  /** The shard knows a later connection: this gateway has forgotten an attempt. */
  #outnumbered(link: Link, connection: number): void {
    link.connection = connection;
    this.#lost(link, new Error("the shard has a later connection of this gateway"));
  }

  #lost(link: Link, error: unknown): void {
    this.#down(link);
    // All calls on the stub of a shard that was reset fail.
    link.stub = shardStub(this.#options.env, link.place);
    const { connection } = link;
    const reason = error instanceof Error ? error.message : String(error);
    if (link.failures === 0) this.#tell("a shard cannot be reached; retrying", link, { reason });
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** link.failures++);
    const wait = longest * Math.random();
    if (longest > RETRY_MS_AWAKE) {
      link.retryAt = Date.now() + longest;
      return this.#options.alarmAt(link.retryAt);
    }
    const later = scheduler.wait(wait).then(() => {
      if (link.connection === connection) this.#connect(link);
    });
    this.#options.ctx.waitUntil(later);
  }

  #tell(message: string, { place }: Link, fields: Readonly<Record<string, string>>): void {
    logLine("warn", message, { hub: place.hub, shard: place.number, ...fields });
  }
}

/** The hub tells its peers that a call was refused, and not why. */
export function logRefused(
  { hub, number }: Place,
  status: number,
  values: readonly Uint8Array[],
): void {
  if (status === 0) return;
  const reason = values.map(text).join(" ");
  logRarely(reason, "the engine refused a call", { hub, shard: number, reason });
}

/** @throws ConfigError */
export function checked(reply: Reply): Reply {
  if (reply.misconfigured !== undefined) throw new ConfigError(reply.misconfigured);
  return reply;
}
