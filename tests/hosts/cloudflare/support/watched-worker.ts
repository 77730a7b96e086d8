// The Worker under test (test-worker.ts) with instrumented storage and hubs: which writes lock the
// output gate, and whether a hub produces trace lines. `/test/refuse-recording` makes the storage
// reject a recording's rows. For a single object.

import type { Env, HubSettings } from "../../../../worker/src/cloudflare/settings.js";
import type { HubLike } from "../../../../worker/src/module/hub.js";
import { replaced } from "./replaced.js";
import worker, { SidekickObject as TestedObject } from "./test-worker.js";

export { AppServer, SidekickShard } from "./test-worker.js";

/** The writes since the last request that lock the output gate until they are confirmed. */
let gating: string[] = [];
/** The arguments of record(), in order. */
const recording: boolean[] = [];
let refuses = false;

function watchedStorage(storage: DurableObjectStorage): DurableObjectStorage {
  const watch = (what: string, options?: { allowUnconfirmed?: boolean }) => {
    if (refuses && what.includes("trace/")) throw new Error("the storage is full");
    if (options?.allowUnconfirmed !== true) gating.push(what);
  };
  return replaced(storage, {
    sql: replaced(storage.sql, {
      exec(statement: string, ...bindings: unknown[]) {
        const cursor = storage.sql.exec(statement, ...bindings);
        if (cursor.rowsWritten > 0) watch(statement);
        return cursor;
      },
    }),
    put(key: string, value: unknown, options?: DurableObjectPutOptions) {
      watch(`put ${key}`, options);
      return storage.put(key, value, options);
    },
    delete(keys: string[], options?: DurableObjectPutOptions) {
      watch(`delete ${keys}`, options);
      return storage.delete(keys, options);
    },
  });
}

export class SidekickObject extends TestedObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    Object.defineProperty(this, "ctx", {
      value: replaced(ctx, { storage: watchedStorage(ctx.storage) }),
    });
  }

  recordedRows(): number {
    return [...this.ctx.storage.kv.list({ prefix: "trace/" })].length;
  }

  protected override createHub(settings: HubSettings, hashSeed: string): HubLike {
    const hub = super.createHub(settings, hashSeed);
    const record = (on: boolean) => {
      recording.push(on);
      hub.record(on);
    };
    return { ...hub, record };
  }
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/test/gating-writes": {
        const writes = gating;
        gating = [];
        return Response.json(writes);
      }
      case "/test/recording":
        return Response.json(recording);
      case "/test/refuse-recording":
        refuses = true;
        return Response.json(null);
      case "/test/recorded-rows": {
        const stub = env.SIDEKICK.getByName(
          "sidekick",
        ) as unknown as DurableObjectStub<SidekickObject>;
        return Response.json(await stub.recordedRows());
      }
    }
    return worker.fetch(request, env, ctx);
  },
};
