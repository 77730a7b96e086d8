// Sidekicks that share an engine, as processes: sidekick-serve, or what SIDEKICK_COMMAND says. Also
// what their clients and their app server do.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "../../hosts/shared/support/left-open.ts";
import { type Run, run } from "../../hosts/shared/support/run.ts";
import {
  type HttpAnswer,
  request,
  SECRET,
  TestClient,
} from "../../hosts/shared/support/sidekick.ts";

const FLAGS = ["--port", "0", "--host", "127.0.0.1", "--secret", SECRET, "--auth-delay", "0"];

export interface EngineNode extends Run {
  readonly listening: number;
  /** Waits until the log has said so often that the engine is up. */
  isUp(times: number): Promise<void>;
  isDown(): Promise<void>;
}

/**
 * On a free port of 127.0.0.1, unless the flags say otherwise. The engine is up, unless it is away.
 * @param host the words of a command, in place of the host under test
 */
export async function startNode(
  flags: readonly string[],
  env: Record<string, string> = {},
  { host, isAway = false }: { host?: readonly string[]; isAway?: boolean } = {},
): Promise<EngineNode> {
  const node = run([...FLAGS, ...flags], env, "cli", "", host);
  atEnd(() => {
    node.kill("SIGKILL");
    return node.exit;
  });
  const isUp = (times: number) => node.says(new RegExp(`(the engine is up[^]*){${times}}`));
  const isDown = () => node.says(/the engine is (down|unavailable)/);
  const listening = await node.port();
  if (!isAway) await isUp(1);
  return { ...node, listening, isUp, isDown };
}

interface Settings {
  /** Limits of the hub. */
  readonly config?: object;
  /** And password, as in a URL. */
  readonly user?: string;
  readonly flags?: readonly string[];
}

/** With the engine at this port. */
export function nodeAt(
  { port }: { readonly port: number },
  { config = {}, user = "", flags = [] }: Settings = {},
): Promise<EngineNode> {
  const file = fileForTest("config.json", JSON.stringify(config));
  const env = { SIDEKICK_ENGINE: `redis://${user}127.0.0.1:${port}` };
  return startNode(["--config", file, ...flags], env);
}

/** The path of a file that is gone at the end of the test. */
export function fileForTest(name: string, text?: string): string {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-"));
  atEnd(() => rmSync(folder, { recursive: true }));
  if (text !== undefined) writeFileSync(join(folder, name), text);
  return join(folder, name);
}

/** A client that listens. */
export async function listener(node: EngineNode, ...resources: string[]): Promise<TestClient> {
  const client = await TestClient.connect(node.listening);
  client.send({ type: "listen", resources });
  assert.equal((await client.next()).type, "listening");
  return client;
}

/** Tells a node that resources have changed. */
export function change(node: EngineNode, ...resources: string[]): Promise<HttpAnswer> {
  return request(node.listening, "/resources", JSON.stringify({ resources }));
}

/** The next resource that a client is told has changed. */
export async function changed(client: TestClient): Promise<string> {
  const { type, resource } = await client.next();
  assert.equal(type, "updated");
  return resource;
}

export async function changedTimes(client: TestClient, times: number): Promise<string[]> {
  const all: string[] = [];
  while (all.length < times) all.push(await changed(client));
  return all;
}

/** Publishes to the channel `chat`. */
export function publish(node: EngineNode, data: unknown): Promise<HttpAnswer> {
  const body = JSON.stringify({ channel: "chat", params: {}, data });
  return request(node.listening, "/message", body);
}

/** The data of the next message to a client. */
export async function received(client: TestClient): Promise<unknown> {
  const message = await client.next();
  assert.equal(message.type, "message", JSON.stringify(message));
  return message.data;
}
