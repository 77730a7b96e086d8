// The Worker under test, as deployed, and beside it `/test/...`, with which a test reaches behind the curtain: it puts the object to
// sleep or resets it, looks into its tables, and makes its module trap.
import unsafe from "workerd:unsafe";
import wasm from "../../../worker/module/sidekick.wasm";
import type { Input } from "../../../worker/src/module/border.generated.js";
import type { HubLike } from "../../../worker/src/module/hub.js";
import { Replayer } from "../../../worker/src/module/replay.js";
import { SidekickObject as RealObject } from "../../../worker/src/cloudflare/object.js";
import type { Env, HubSettings } from "../../../worker/src/cloudflare/settings.js";
import worker from "../../../worker/src/cloudflare/worker.js";

export { AppServer } from "../../../worker/src/cloudflare/app-server.js";

/** How often each object has been constructed in this isolate: each time but the first it had slept, or was reset. */
const constructed = new Map<string, number>();

export class SidekickObject extends RealObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const id = ctx.id.toString();
    constructed.set(id, (constructed.get(id) ?? 0) + 1);
  }

  rows(table: string): number {
    return this.ctx.storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n;
  }

  /** A wrong record, as a bug or an older version might have left it. */
  damage(): void {
    this.ctx.storage.sql.exec("UPDATE token SET record = ?", new TextEncoder().encode("{ damaged"));
  }

  fireAlarm(): void {
    this.alarm();
  }

  async alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm();
  }

  protected override createHub(settings: HubSettings, hashSeed: string): HubLike {
    return trapping(super.createHub(settings, hashSeed));
  }
}

/** Whether the end of a socket makes the module trap, once. */
let trapsAtClose = false;

/** Makes the module trap, for good and not in play, on any frame or body with the word `trap!` in it, and on any record with `poison!`. */
function trapping(hub: HubLike): HubLike {
  return {
    limits: hub.limits,
    describe: () => hub.describe(),
    bodyBytesMax: (method, path, authorization) => hub.bodyBytesMax(method, path, authorization),
    record: (on) => hub.record(on),
    recorded: () => hub.recorded(),
    recordInput: (now, input) => hub.recordInput(now, input),
    handle(now, input) {
      if (isFatal(input)) {
        // A host must never open a client twice: a check of the module fails.
        for (let i = 0; i < 2; i++) hub.handle(now, { type: "client_opened", client: 0xfffffff0 });
      }
      return hub.handle(now, input);
    },
  };
}

function isFatal(input: Input): boolean {
  if (input.type === "client_closed" && trapsAtClose) return !(trapsAtClose = false);
  if (input.type === "restore_token") return new TextDecoder().decode(input.record as Uint8Array).includes("poison!");
  const bytes = input.type === "client_frame" ? input.bytes : input.type === "http_request" ? input.body : "";
  return (typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes)).includes("trap!");
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url);
    if (!url.pathname.startsWith("/test/")) return worker.fetch(request, env);
    const stub = env.SIDEKICK.getByName(url.searchParams.get("hub") ?? "sidekick") as unknown as DurableObjectStub<SidekickObject>;
    switch (url.pathname) {
      case "/test/replay":
        return Response.json(replay(new Uint8Array(await request.arrayBuffer())));
      case "/test/evict":
        await unsafe.evict(stub, { webSockets: url.searchParams.get("sockets") as "hibernate" | "close" });
        return new Response();
      case "/test/constructed":
        return Response.json(constructed.get(stub.id.toString()) ?? 0);
      case "/test/rows":
        return Response.json(await stub.rows(url.searchParams.get("table")!));
      case "/test/damage":
        await stub.damage();
        return new Response();
      case "/test/trap-at-close":
        trapsAtClose = true;
        return new Response();
      case "/test/alarm":
        await stub.fireAlarm();
        return new Response();
      case "/test/alarm-at":
        return Response.json(await stub.alarmAt());
    }
    return new Response(null, { status: 404 });
  },
};

function replay(trace: Uint8Array): unknown {
  const replayer = new Replayer(wasm);
  let start = 0;
  for (let end = trace.indexOf(10); end !== -1; end = trace.indexOf(10, start)) {
    const difference = replayer.line(trace.subarray(start, end));
    if (difference !== undefined) return { difference };
    start = end + 1;
  }
  return { difference: replayer.end(), inputs: replayer.inputs };
}
