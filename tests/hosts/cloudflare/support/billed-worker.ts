// The Worker under test (test-worker.ts), which counts what Cloudflare bills: requests to the
// Worker and to objects, messages received, rows, and alarms. `/test/bill` tells the counts since
// it was asked before. What a test does through the back door is not counted. Objects stay awake
// until `/test/may-sleep`, since a wake costs more.
import type { Env } from "../../../../worker/src/cloudflare/settings.js";
import type { Bill, Bills } from "./bill.js";
import { replaced } from "./replaced.js";
import worker, {
  SidekickObject as TestedObject,
  SidekickShard as TestedShard,
} from "./test-worker.js";

export { AppServer } from "./test-worker.js";

const nothing = (): Bill => ({
  calls: 0,
  messages: 0,
  alarmsFired: 0,
  rowsWritten: 0,
  rowsRead: 0,
  wakes: 0,
});

let bills: Bills = { worker: 0, objects: nothing(), shards: nothing() };
let maySleep = false;
/** A cursor counts rows until it is read to its end. */
let cursors: { readonly bill: Bill; readonly cursor: SqlStorageCursor<any> }[] = [];

function billed(kind: "objects" | "shards", ctx: DurableObjectState): DurableObjectState {
  const { storage } = ctx;
  return replaced(ctx, {
    storage: replaced(storage, {
      sql: replaced(storage.sql, {
        exec(statement: string, ...bindings: unknown[]) {
          const cursor = storage.sql.exec(statement, ...bindings);
          // Tables are created only once.
          if (!/CREATE TABLE/.test(statement)) cursors.push({ bill: bills[kind], cursor });
          return cursor;
        },
      }),
      setAlarm(at: number) {
        bills[kind].rowsWritten++;
        return storage.setAlarm(at);
      },
    }),
  });
}

function watch(object: object, kind: "objects" | "shards", ctx: DurableObjectState): void {
  bills[kind].wakes++;
  Object.defineProperty(object, "ctx", { value: billed(kind, ctx) });
  const stayAwake = async () => {
    while (!maySleep) await scheduler.wait(100);
  };
  ctx.waitUntil(stayAwake());
}

/** Each method counts a call. */
function counted<T extends object>(prototype: T, kind: "objects" | "shards", names: string[]) {
  for (const name of names) {
    const method = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
    Reflect.set(prototype, name, function (this: unknown, ...args: unknown[]) {
      bills[kind].calls++;
      return method.apply(this, args);
    });
  }
}

export class SidekickObject extends TestedObject {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    watch(this, "objects", ctx);
  }

  override webSocketMessage(...args: Parameters<TestedObject["webSocketMessage"]>): void {
    bills.objects.messages++;
    super.webSocketMessage(...args);
  }

  override async alarm(): Promise<void> {
    bills.objects.alarmsFired++;
    await super.alarm();
  }
}

export class SidekickShard extends TestedShard {
  /** A late delivery costs more. On a slow machine any is late. */
  protected override readonly deliveryMsMax = 60_000;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    watch(this, "shards", ctx);
  }

  override alarm(): void {
    bills.shards.alarmsFired++;
    super.alarm();
  }
}

counted(SidekickObject.prototype, "objects", ["fetch", "deliver"]);
const methods = ["run", "attach", "join", "leave", "replaceJoins", "ready"];
counted(SidekickShard.prototype, "shards", methods);

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/test/bill") return Response.json(total());
    if (pathname === "/test/may-sleep") {
      maySleep = true;
      return Response.json(null);
    }
    if (!pathname.startsWith("/test/")) bills.worker++;
    return worker.fetch(request, env, ctx);
  },
};

function total(): Bills {
  for (const { bill, cursor } of cursors) {
    bill.rowsRead += cursor.rowsRead;
    bill.rowsWritten += cursor.rowsWritten;
  }
  const told = bills;
  bills = { worker: 0, objects: nothing(), shards: nothing() };
  cursors = [];
  return told;
}
