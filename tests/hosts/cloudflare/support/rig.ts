// The place of a conversation: a Sidekick in workerd with one hub per seed, and its app server.
import type * as http from "node:http";
import { startAppServer } from "../../shared/support/app-server.ts";
import type { WorkerdSidekick } from "./sidekick.ts";
import { startSidekick } from "./sidekick.ts";

/**
 * Longer than any conversation takes on any machine: the Worker's fetch times out by the real
 * clock.
 */
export const FORWARD_TIMEOUT_MS = 300_000;
/** By the clock of the conversation, which moves it on for each retry. */
export const RETRY_MS = 1;

export const limits = {
  auth_failure_delay_ms: 0,
  topics_per_client_max: 200,
  frame_bytes_max: 30_000,
  token_ttl_ms: 600_000,
  token_resume_ms: 450_000,
  forward_timeout_ms: FORWARD_TIMEOUT_MS,
  engine_retry_ms: RETRY_MS,
};

export interface Scale {
  readonly gateways: number;
  readonly shards: number;
}

/** The app server withholds its answer to messages called slow: the test gives it. */
export interface Rig {
  readonly sidekick: WorkerdSidekick;
  /** Undefined: each hub is one object. */
  readonly scale: Scale | undefined;
  readonly held: http.ServerResponse[];
  /** The bodies received since the last call. */
  forwarded(): string[];
  stop(): Promise<unknown>;
}

export const hubOf = (seed: number) => `seed-${seed}.example.com`;

/** The names of the objects that hold the sockets of a hub. */
export const gatewaysOf = (hub: string, { gateways }: Scale) =>
  Array.from({ length: gateways }, (_, i) => (i === 0 ? hub : `${hub}:g${i}`));

export const shardsOf = (hub: string, { shards }: Scale) =>
  Array.from({ length: shards }, (_, i) => `${hub}:s${i}`);

export async function startRig(seeds: readonly number[], scale?: Scale): Promise<Rig> {
  const held: http.ServerResponse[] = [];
  const app = await startAppServer((response, { body }) => {
    if (body.includes('"slow"')) held.push(response);
    else if (body.includes("refuse"))
      response.writeHead(400).end('{ "fault": "client", "message": "refused" }');
    else response.writeHead(204).end();
  });
  const settings = {
    secret: "test-secret",
    server_url: app.url,
    server_secret: "s",
    limits,
    ...scale,
  };
  const sidekick = await startSidekick({
    env: {
      SIDEKICK_HUBS: JSON.stringify(
        Object.fromEntries(seeds.map((seed) => [hubOf(seed), settings])),
      ),
    },
  });
  let taken = 0;
  const forwarded = () => {
    const bodies = app.forwarded.slice(taken).map(({ body }) => body);
    taken = app.forwarded.length;
    return bodies;
  };
  return {
    sidekick,
    scale,
    held,
    forwarded,
    stop: () => Promise.all([sidekick.stop(), app.close()]),
  };
}
