// A Sidekick in workerd for tests, with its back door, and what talks to it.
import { fileURLToPath } from "node:url";
import { request, SECRET, TestClient } from "../../hosts/support/sidekick.ts";
import { startWorkerd } from "./workerd.ts";
import type { Workerd } from "./workerd.ts";

export { closeEverything, eventually, registerToken, request, SECRET, TestClient } from "../../hosts/support/sidekick.ts";

export interface WorkerdSidekick extends Workerd {
  /** Empties the object's memory, as sleep does; or resets it, as a deployment does: then all sockets are closed. */
  evict(sockets: "hibernate" | "close", hub?: string): Promise<void>;
  /** How often the object has been constructed so far. Asking does not wake it; all others here do. */
  constructed(hub?: string): Promise<number>;
  rows(table: "token" | "client" | "trace" | "setting", hub?: string): Promise<number>;
  /** Any other `/test/...` request. */
  test(path: string, body?: Buffer): Promise<any>;
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, number>>;
}

export async function startSidekick({ env = {}, limits = {} }: Options = {}): Promise<WorkerdSidekick> {
  const workerd = await startWorkerd({
    main: fileURLToPath(new URL("test-worker.ts", import.meta.url)),
    unsafe: true,
    env: { SIDEKICK_SECRET: SECRET, SIDEKICK_LIMITS: JSON.stringify({ auth_failure_delay_ms: 0, ...limits }), ...env },
  });
  const test = async (path: string, body?: Buffer) => {
    const answer = await request(workerd.port, `/test/${path}`, body ?? "");
    if (answer.status !== 200) throw new Error(`/test/${path}: ${answer.status} ${answer.body}\n${workerd.output()}`);
    return answer.body === "" ? undefined : JSON.parse(answer.body);
  };
  return {
    ...workerd,
    test,
    evict: async (sockets, hub = "sidekick") => void (await test(`evict?sockets=${sockets}&hub=${hub}`)),
    constructed: (hub = "sidekick") => test(`constructed?hub=${hub}`),
    rows: (table, hub = "sidekick") => test(`rows?table=${table}&hub=${hub}`),
  };
}

/** The counts of GET /health. */
export async function health(port: number): Promise<{ clients: number; tokens: number; topics: number; forwards: number }> {
  return JSON.parse((await request(port, "/health", undefined, { method: "GET" })).body);
}

/** Resolves when the object has dealt with all that this client has sent so far; returns what has come before. Not the text that the
 *  runtime answers by itself. */
export async function settle(client: TestClient): Promise<string[]> {
  client.send('{ "type": "ping" }');
  const messages: string[] = [];
  for (let message = await client.nextText(); message !== '{"type":"pong"}'; message = await client.nextText()) messages.push(message);
  return messages;
}
