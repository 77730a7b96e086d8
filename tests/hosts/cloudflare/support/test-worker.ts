// The deployed Worker with `/test/...` routes that let a test hibernate or reset the object, read
// and damage its tables, make its module trap, delay its alarm, and move its clock.
import unsafe from "workerd:unsafe";
import wasm from "../../../../worker/module/sidekick.wasm";
import { SidekickObject as RealObject } from "../../../../worker/src/cloudflare/object.js";
import { GATEWAY_HEADER } from "../../../../worker/src/cloudflare/scale.js";
import type { Env, HubSettings } from "../../../../worker/src/cloudflare/settings.js";
import { hubNameOf } from "../../../../worker/src/cloudflare/settings.js";
import { SidekickShard as RealShard } from "../../../../worker/src/cloudflare/shard-object.js";
import worker from "../../../../worker/src/cloudflare/worker.js";
import type { Input } from "../../../../worker/src/module/border.generated.js";
import type { HubLike } from "../../../../worker/src/module/hub.js";
import { Hub } from "../../../../worker/src/module/hub.js";
import { Replayer } from "../../../../worker/src/module/replay.js";
import { watched } from "../../shared/support/watched-hub.js";

export { AppServer } from "../../../../worker/src/cloudflare/app-server.js";

// Test state of the objects in this isolate, by id. It outlives the objects.

/** Number of constructions: each one but the first follows hibernation or a reset. */
const constructed = new Map<string, number>();
/** Number of hubs created. */
const hubs = new Map<string, number>();
/** Number of alarms received. */
const alarms = new Map<string, number>();
/** The input type at which the module traps, once. */
const trapsAt = new Map<string, Input["type"]>();
const heldAlarms = new Set<string>();
/** Objects whose calls fail. */
const unreachable = new Set<string>();
/** Shards whose settings are wrong. */
const misconfigured = new Set<string>();
const MISCONFIGURED = { status: 0, values: [], misconfigured: "a test makes this setting wrong" };
/** Shards that refuse each script. */
const refusing = new Set<string>();
const REFUSED = { status: 1, values: [new TextEncoder().encode("a test refuses this script")] };
/** Shards that connect a gateway, but their answer is lost. */
const losing = new Set<string>();
/** Of shards whose calls wait: how many have waited, and how many may go on. */
const gates = new Map<string, { waited: number; passed: number }>();
/** Shards at which a call to leave topics is held. */
const heldLeaves = new Set<string>();
/** The script whose next call is held at this shard. */
const toHold = new Map<string, string>();
/** Shards at which such a call is held. */
const heldRuns = new Set<string>();
/** Number of calls that shards and gateways have got from each other and from the Worker. */
const calls = new Map<string, number>();

/** This isolate's clock, if a test has set it. */
let clock: number | undefined;
const realNow = Date.now;
Date.now = () => clock ?? realNow();

/** The rows of an object, with blobs as text. */
interface Stored {
  readonly token: readonly {
    readonly key: string;
    readonly part: number;
    readonly state: number;
    readonly expires_at: number;
    readonly record: string;
  }[];
  readonly client: readonly {
    readonly client: number;
    readonly part: number;
    readonly record: string;
  }[];
  readonly attachments: readonly (readonly [number, string | true])[];
}

function count(counts: Map<string, number>, id: string): void {
  counts.set(id, (counts.get(id) ?? 0) + 1);
}

/** Blobs as text. */
function rowsOf(storage: DurableObjectStorage, statement: string): unknown[] {
  const decoder = new TextDecoder();
  const rows = storage.sql.exec(statement).toArray();
  const plain = (value: unknown) => (value instanceof ArrayBuffer ? decoder.decode(value) : value);
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])),
  );
}

/** Calls go on in the order in which they came. */
async function pass(id: string): Promise<void> {
  const gate = gates.get(id);
  if (gate === undefined) return;
  const place = gate.waited++;
  while (gate.passed <= place) await scheduler.wait(5);
}

function called(id: string): void {
  count(calls, id);
  if (unreachable.has(id)) throw new Error("a test makes this object unreachable");
}

export class SidekickShard extends RealShard {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    count(constructed, this.#id);
  }

  get #id(): string {
    return this.ctx.id.toString();
  }

  sql(statement: string): unknown[] {
    return rowsOf(this.ctx.storage, statement);
  }

  /** As the runtime does with an object that exceeds its memory. */
  reset(): void {
    this.ctx.abort("a test resets this object");
  }

  async fireAlarm(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    this.alarm();
  }

  async alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm();
  }

  override async run(...args: Parameters<RealShard["run"]>): ReturnType<RealShard["run"]> {
    if (toHold.get(this.#id) === args[1]) {
      toHold.delete(this.#id);
      heldRuns.add(this.#id);
      while (heldRuns.has(this.#id)) await scheduler.wait(5);
    }
    called(this.#id);
    if (misconfigured.has(this.#id)) return MISCONFIGURED;
    if (refusing.has(this.#id)) return REFUSED;
    await pass(this.#id);
    return super.run(...args);
  }

  override async attach(...args: Parameters<RealShard["attach"]>): ReturnType<RealShard["attach"]> {
    called(this.#id);
    const reply = await super.attach(...args);
    if (losing.has(this.#id)) throw new Error("a test loses this answer");
    return reply;
  }

  override async join(...args: Parameters<RealShard["join"]>): ReturnType<RealShard["join"]> {
    called(this.#id);
    return super.join(...args);
  }

  override async leave(...args: Parameters<RealShard["leave"]>): ReturnType<RealShard["leave"]> {
    while (heldLeaves.has(this.#id)) await scheduler.wait(5);
    called(this.#id);
    return super.leave(...args);
  }

  override async ready(...args: Parameters<RealShard["ready"]>): ReturnType<RealShard["ready"]> {
    called(this.#id);
    if (misconfigured.has(this.#id)) return MISCONFIGURED;
    return super.ready(...args);
  }
}

export class SidekickObject extends RealObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    count(constructed, this.#id);
  }

  get #id(): string {
    return this.ctx.id.toString();
  }

  sql(statement: string): unknown[] {
    return rowsOf(this.ctx.storage, statement);
  }

  override deliver(...args: Parameters<RealObject["deliver"]>): void {
    called(this.#id);
    super.deliver(...args);
  }

  override async fetch(request: Request): Promise<Response> {
    called(this.#id);
    return super.fetch(request);
  }

  /** Takes rows and attachments in place of its own: each open socket gets that of its client. */
  replaceStored({ token, client, attachments }: Stored): void {
    const { sql } = this.ctx.storage;
    const bytes = (text: string) => new TextEncoder().encode(text).buffer as ArrayBuffer;
    sql.exec("DELETE FROM token");
    sql.exec("DELETE FROM client");
    for (const { key, part, state, expires_at, record } of token) {
      const row = [bytes(key), part, state, expires_at, bytes(record)];
      sql.exec("INSERT INTO token VALUES (?, ?, ?, ?, ?)", ...row);
    }
    for (const { client: id, part, record } of client)
      sql.exec("INSERT INTO client VALUES (?, ?, ?)", id, part, bytes(record));
    for (const socket of this.ctx.getWebSockets()) {
      const [id] = socket.deserializeAttachment() as [number];
      socket.serializeAttachment(attachments.find(([it]) => it === id));
    }
  }

  override async alarm(): Promise<void> {
    count(alarms, this.#id);
    while (heldAlarms.has(this.#id)) await scheduler.wait(5);
    await super.alarm();
  }

  /** Like the runtime: when the alarm fires, none is set any more. */
  async fireAlarm(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.alarm();
  }

  async alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm();
  }

  protected override createHub(settings: HubSettings, hashSeed: string): HubLike {
    const hub = super.createHub(settings, hashSeed);
    count(hubs, this.#id);
    return watched(hub, (now, input) => {
      if (!isFatal(input) && trapsAt.get(this.#id) !== input.type) return;
      trapsAt.delete(this.#id);
      trap(hub, now);
    });
  }
}

/** A host must never open a client twice: a check of the module fails, and it really traps. */
function trap(hub: HubLike, now: number): void {
  for (let i = 0; i < 2; i++) hub.handle(now, { type: "client_opened", client: 0xfffffff0 });
}

/**
 * Nothing can replace the Worker's hub in front of shards from outside. So the class of the module
 * traps, on a body that contains `trap in the Worker!`.
 */
const { handle } = Hub.prototype;
Hub.prototype.handle = function (now, input) {
  if (input.type === "http_request" && textOf(input.body).includes("trap in the Worker!"))
    trap(this, now);
  return handle.call(this, now, input);
};

const textOf = (bytes: string | Uint8Array) =>
  typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes);

/** Any frame or body that contains `trap!`, and any record that contains `poison!`. */
function isFatal(input: Input): boolean {
  if (input.type === "restore_token") return textOf(input.record).includes("poison!");
  const bytes =
    input.type === "client_frame" ? input.bytes : input.type === "http_request" ? input.body : "";
  return textOf(bytes).includes("trap!");
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const { pathname, searchParams: asked } = new URL(request.url);
    const gateway = request.headers.get("test-gateway");
    if (gateway !== null) return atGateway(request, env, gateway);
    if (!pathname.startsWith("/test/")) return worker.fetch(request, env, ctx);
    const name = asked.get("hub") ?? "sidekick";
    const namespace = /:s\d+$/.test(name) ? env.SIDEKICK_SHARD! : env.SIDEKICK;
    const stub = namespace.getByName(name) as unknown as DurableObjectStub<SidekickObject>;
    const id = stub.id.toString();
    switch (pathname.slice("/test/".length)) {
      case "replay":
        return Response.json(replay(new Uint8Array(await request.arrayBuffer())));
      case "evict":
        return Response.json(await evict(stub, asked.get("sockets") as "hibernate" | "close"));
      case "constructed":
        return Response.json(constructed.get(id) ?? 0);
      case "hubs":
        return Response.json(hubs.get(id) ?? 0);
      case "calls":
        return Response.json(calls.get(id) ?? 0);
      case "unreachable":
        unreachable.add(id);
        return Response.json(null);
      case "misconfigure":
        misconfigured.add(id);
        return Response.json(null);
      case "configure":
        misconfigured.delete(id);
        return Response.json(null);
      case "refuse":
        refusing.add(id);
        return Response.json(null);
      case "hold-calls":
        gates.set(id, { waited: 0, passed: 0 });
        return Response.json(null);
      case "pass-call":
        gates.get(id)!.passed++;
        return Response.json(null);
      case "lose-answers":
        losing.add(id);
        return Response.json(null);
      case "hold-leaves":
        heldLeaves.add(id);
        return Response.json(null);
      case "release-leaves":
        heldLeaves.delete(id);
        return Response.json(null);
      case "hold-run":
        toHold.set(id, asked.get("script")!);
        return Response.json(null);
      case "release-run":
        return Response.json(heldRuns.delete(id));
      case "reset":
        await (stub as unknown as DurableObjectStub<SidekickShard>).reset().catch(() => {});
        return Response.json(null);
      case "reachable":
        unreachable.delete(id);
        losing.delete(id);
        return Response.json(null);
      case "alarms":
        return Response.json(alarms.get(id) ?? 0);
      case "sql":
        return Response.json(await stub.sql(await request.text()));
      case "replace-stored":
        return Response.json((await stub.replaceStored(await request.json())) ?? null);
      case "trap-at":
        trapsAt.set(id, asked.get("input") as Input["type"]);
        return Response.json(null);
      case "hold-alarms":
        heldAlarms.add(id);
        return Response.json(null);
      case "release-alarms":
        heldAlarms.delete(id);
        return Response.json(null);
      case "alarm":
        return Response.json((await stub.fireAlarm()) ?? null);
      case "alarm-at":
        return Response.json(await stub.alarmAt());
      case "clock":
        clock = Number(asked.get("at"));
        return Response.json(null);
    }
    return new Response(null, { status: 404 });
  },
};

/** Of an object that is not running there is nothing to evict. Returns whether it was too busy. */
async function evict(stub: DurableObjectStub, webSockets: "hibernate" | "close"): Promise<boolean> {
  try {
    await unsafe.evict(stub, { webSockets });
  } catch (error) {
    if (String(error).includes("it still has active references")) return true;
    if (!String(error).includes("it is not currently running")) throw error;
  }
  return false;
}

/** In place of a random one. */
function atGateway(request: Request, env: Env, gateway: string): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.delete("test-gateway");
  headers.set(GATEWAY_HEADER, headers.get("test-claimed-gateway") ?? gateway);
  const hub = hubNameOf(env, new URL(request.url).hostname)!;
  const name = gateway === "0" ? hub : `${hub}:g${gateway}`;
  return env.SIDEKICK.getByName(name).fetch(new Request(request, { headers }));
}

function replay(trace: Uint8Array): unknown {
  const replayer = new Replayer(wasm);
  let start = 0;
  for (let end = trace.indexOf(10); end !== -1; end = trace.indexOf(10, start)) {
    const difference = replayer.line(trace.subarray(start, end));
    if (difference !== undefined) return { difference };
    start = end + 1;
  }
  return {
    difference: replayer.end(trace.subarray(start)),
    inputs: replayer.inputs,
    cuts: replayer.cuts,
  };
}
