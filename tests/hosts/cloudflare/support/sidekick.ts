// A Sidekick in workerd for tests, its back door, and the clients that talk to it.
import type { Workerd } from "../../../../worker/workerd/workerd.ts";
import { startWorkerd } from "../../../../worker/workerd/workerd.ts";
import type { Answer, AppServer } from "../../shared/support/app-server.ts";
import { startAppServer } from "../../shared/support/app-server.ts";
import { registerToken, request, SECRET, TestClient } from "../../shared/support/sidekick.ts";
import { testWorker } from "./workers.ts";

export { closeEverything } from "../../shared/support/left-open.ts";
export {
  eventually,
  RawConnection,
  registerToken,
  request,
  SECRET,
  TestClient,
} from "../../shared/support/sidekick.ts";

export interface WorkerdSidekick extends Workerd {
  /**
   * Empties the object's memory, as hibernation does once the object is idle; or resets it, as a
   * deployment does, which closes all sockets.
   * @throws {@link Busy} if it did not become idle for some seconds
   */
  evict(sockets: "hibernate" | "close", hub?: string): Promise<void>;
  /** Number of times the object has been constructed. Asking does not wake it. */
  constructed(hub?: string): Promise<number>;
  /** Wakes the object, as reading rows does, without an input to its hub. */
  sql(statement: string, hub?: string): Promise<any[]>;
  rows(table: "token" | "client" | "setting", hub?: string): Promise<number>;
  /** Any other `/test/...` request. */
  test(path: string, body?: string | Buffer): Promise<any>;
}

export class Busy extends Error {}

export interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, number>>;
  /** Its main file. Default: the deployed Worker with a back door. */
  readonly main?: string;
  /** Default: those of the deployed wrangler.jsonc. */
  readonly classes?: Readonly<Record<string, string>>;
  /** Its storage folder, possibly with an earlier run's data. Default: a temporary folder. */
  readonly storage?: string;
}

export async function startSidekick({
  env = {},
  limits = {},
  main = testWorker,
  storage,
  classes,
}: Options = {}): Promise<WorkerdSidekick> {
  const workerd = await startWorkerd({
    main,
    unsafe: true,
    env: {
      SIDEKICK_SECRET: SECRET,
      SIDEKICK_LIMITS: JSON.stringify({ auth_failure_delay_ms: 0, ...limits }),
      ...env,
    },
    ...(storage !== undefined && { storage }),
    ...(classes !== undefined && { classes }),
  });
  const test = async (path: string, body: string | Buffer = "") => {
    const answer = await request(workerd.port, `/test/${path}`, body);
    if (answer.status !== 200)
      throw new Error(`/test/${path}: ${answer.status} ${answer.body}\n${workerd.output()}`);
    return JSON.parse(answer.body);
  };
  const sql = (statement: string, hub = "sidekick") => test(`sql?hub=${hub}`, statement);
  return {
    ...workerd,
    test,
    sql,
    evict: async (sockets, hub = "sidekick") => {
      if (await test(`evict?sockets=${sockets}&hub=${hub}`)) throw new Busy(`${hub} is busy`);
    },
    constructed: (hub = "sidekick") => test(`constructed?hub=${hub}`),
    rows: async (table, hub) => (await sql(`SELECT count(*) AS n FROM ${table}`, hub))[0].n,
  };
}

// The test runner ends a file that takes too long in this way: its child processes must not outlive
// it.
process.once("SIGTERM", () => process.exit(143));

const running: { stop(): Promise<unknown> }[] = [];

/** For `afterEach`. */
export async function stopAll(): Promise<void> {
  await Promise.all(running.splice(0).map((one) => one.stop()));
}

/** A Sidekick that `stopAll` ends. */
export async function start(options: Options = {}): Promise<WorkerdSidekick> {
  const sidekick = await startSidekick(options);
  running.push(sidekick);
  return sidekick;
}

export async function startApp(answer?: Answer): Promise<AppServer> {
  const app = await startAppServer(answer);
  running.push({ stop: () => app.close() });
  return app;
}

export async function startWithApp(
  answer: Answer,
  options: Options = {},
): Promise<{ app: AppServer; sidekick: WorkerdSidekick }> {
  const app = await startApp(answer);
  const sidekick = await start({
    ...options,
    env: { SIDEKICK_SERVER_URL: app.url, SIDEKICK_SERVER_SECRET: "server-secret", ...options.env },
  });
  return { app, sidekick };
}

/** A client that can send into a channel of its own. */
export async function sender(
  port: number,
  roomId = "1",
): Promise<{ client: TestClient; token: string; send: (data: unknown) => void }> {
  const token = `token-to-send-with-${roomId}`;
  await registerToken(port, token, "chat", { roomId });
  const client = await TestClient.connect(port);
  return {
    client,
    token,
    send: (data) => client.send({ type: "send", token, channel: "chat", params: { roomId }, data }),
  };
}

/**
 * Lets a registered token expire: after `token_resume_ms`, a limit that does not rush a client that
 * still has to take one.
 */
export async function letGo(port: number, token: string, headers = {}): Promise<void> {
  const client = await TestClient.connect(port, headers);
  await client.subscribe(token);
  await client.close();
}

export const post = (port: number, path: string, body: unknown, headers = {}) =>
  request(port, path, JSON.stringify(body), { headers });

/** The counters of GET /health. */
export async function health(
  port: number,
  headers = {},
): Promise<{ clients: number; tokens: number; topics: number; forwards: number }> {
  return JSON.parse((await request(port, "/health", undefined, { method: "GET", headers })).body);
}

/**
 * Resolves when the object has handled everything this client has sent; returns what the client
 * received before. Not the text that the runtime answers by itself.
 */
export const settle = (client: TestClient) =>
  answered(client, '{ "type": "ping" }', '{"type":"pong"}');

/** The same with shards. A pong waits for nothing; this answer waits for the messages before. */
export const settleWithShards = (client: TestClient) =>
  answered(
    client,
    '{ "type": "unlisten", "resources": [] }',
    '{ "type": "unlistening", "resources": [] }',
  );

async function answered(client: TestClient, question: string, answer: string): Promise<string[]> {
  client.send(question);
  const messages: string[] = [];
  for (let message = await client.nextText(); message !== answer; message = await client.nextText())
    messages.push(message);
  return messages;
}
