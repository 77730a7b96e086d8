// Two hosts behind a load balancer that asks for /ready, and clients of covenant-sidekick/client
// whose app server publishes all the time, while one of the hosts stops.
//
// Without an engine the hosts know nothing of each other: the app server publishes to both.
import * as net from "node:net";
import type { Sidekick } from "../../../../worker/src/client/index.ts";
import { connectSidekick } from "../../../client/support/client.ts";
import { LeanSocket } from "../../../client/support/lean-socket.ts";
import { atEnd } from "./left-open.ts";
import { run } from "./run.ts";
import { eventually, request } from "./sidekick.ts";

const PROBE_MS = 100;
const PUBLISH_MS = 250;
/** Connections of a new client wait until the ones before are open. */
const STARTING_MAX = 64;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A TCP proxy that sends each connection to a host that was ready at the last probe. */
class Balancer {
  /** When connections came, in ms. */
  readonly connects: number[] = [];
  readonly #hosts: { readonly port: number; isReady: boolean }[] = [];
  readonly #server = net.createServer({ noDelay: true }, (client) => this.#take(client));
  #turn = 0;

  constructor() {
    atEnd(() => this.#server.close());
    const timer = setInterval(() => void this.#probe(), PROBE_MS);
    atEnd(() => clearInterval(timer));
  }

  add(port: number): void {
    this.#hosts.push({ port, isReady: true });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`;
  }

  async #probe(): Promise<void> {
    for (const host of this.#hosts)
      host.isReady = await request(host.port, "/ready", undefined, { method: "GET", secret: null })
        .then(({ status }) => status === 200)
        .catch(() => false);
  }

  #take(client: net.Socket): void {
    this.connects.push(performance.now());
    const ready = this.#hosts.filter(({ isReady }) => isReady);
    const host = ready[this.#turn++ % ready.length];
    if (host === undefined) return void client.destroy();
    const server = net.connect({ port: host.port, host: "127.0.0.1", noDelay: true });
    client.pipe(server).pipe(client);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
      atEnd(() => one.destroy());
    }
  }
}

export interface Report {
  /** How often each close code came. */
  readonly codes: Readonly<Record<number, number>>;
  /** Connections to the balancer since the signal, per 100 ms. */
  readonly connects: readonly number[];
  readonly publishes: number;
  /** Pairs of a client and a publish of which it never learned. */
  readonly missed: readonly string[];
  /** Clients that said another session than before. */
  readonly strangers: number;
  /** From the signal to the end of the process. */
  readonly seconds: number;
  readonly problems: readonly string[];
}

class Member {
  readonly told = new Map<string, number>();
  readonly sessions = new Set<string>();
  readonly #sidekick: Sidekick;

  constructor(url: string, names: readonly string[], onClose: (code: number) => void) {
    const { sessions } = this;
    const WebSocket = class extends LeanSocket {
      override send(text: string): void {
        const session = /"?hello"?: ?"([^"]+)"/.exec(text)?.[1];
        if (session !== undefined) sessions.add(session);
        super.send(text);
      }
    };
    this.#sidekick = connectSidekick(url, { WebSocket });
    atEnd(() => this.#sidekick.disconnect());
    this.#sidekick.on("state", ({ name, code }) => {
      if (name === "waiting") onClose(code!);
    });
    this.#sidekick.onMessage((message) => {
      if (message.type === "updated") this.told.set(message.resource, performance.now());
    });
    this.#sidekick.sendMessage({ type: "listen", resources: [...names] });
  }

  get isLive(): boolean {
    return this.#sidekick.state.name === "live";
  }
}

/**
 * All clients are connected to the host that stops; the other one starts when they are.
 * @param flags of both hosts, with the secret `s`
 */
export async function stopOneOfTwo(
  clients: number,
  seconds: number,
  flags: readonly string[],
): Promise<Report> {
  const start = () => run([...flags, "--port", "0", "--drain-seconds", `${seconds}`]);
  const host = start();
  const stopping = await host.port();
  const balancer = new Balancer();
  balancer.add(stopping);
  const url = await balancer.listen();

  // A second before, the drain, and the time for those that left last to be back and be told.
  const publishes = Math.ceil(((seconds + 5) * 1000) / PUBLISH_MS);
  const names = Array.from({ length: publishes }, (_, index) => `change/${index}`);
  const codes: Record<number, number> = {};
  const onClose = (code: number) => (codes[code] = (codes[code] ?? 0) + 1);
  const closed = () => Object.values(codes).reduce((sum, count) => sum + count, 0);
  const members: Member[] = [];
  while (members.length < clients) {
    for (let i = 0; i < STARTING_MAX && members.length < clients; i++)
      members.push(new Member(url, names, onClose));
    await eventually(() => members.every(({ isLive }) => isLive));
  }
  const staying = await start().port();
  balancer.add(staying);

  const published = new Map<string, number>();
  const problems: string[] = [];
  let hasStopped = false;
  const post = async (port: number, resource: string) => {
    const body = JSON.stringify({ resources: [resource] });
    await request(port, "/resources", body, { secret: "s" }).then(
      ({ status }) => void (status === 200 || problems.push(`POST /resources: ${status}`)),
      // The last client may leave, and the host stop, between two publishes. Without a drain the
      // host stops listening first.
      ({ message }: Error) => {
        if (seconds > 0 && closed() < clients) problems.push(`POST /resources: ${message}`);
      },
    );
  };
  /** Each resource once, so that no publish hides another. */
  const publish = async () => {
    for (const resource of names) {
      published.set(resource, performance.now());
      await Promise.all([hasStopped || post(stopping, resource), post(staying, resource)]);
      await sleep(PUBLISH_MS);
    }
  };
  const publishing = publish();
  await sleep(1000);
  const signalled = performance.now();
  host.kill("SIGTERM");
  await host.says(/draining|shutting down/);
  const status = await host.exit.finally(() => (hasStopped = true));
  const stopped = performance.now();
  if (status !== 0) problems.push(`the host ended with ${status}: ${host.output()}`);
  await publishing;
  const missed = () =>
    members.flatMap(({ told }, index) =>
      [...published]
        .filter(([resource, at]) => (told.get(resource) ?? 0) < at)
        .map(([resource]) => `${resource} of client ${index}`),
    );
  // Clients spread what they ask again after a restart over some seconds.
  for (let i = 0; i < 300 && missed().length > 0; i++) await sleep(100);
  const health = await request(staying, "/health", undefined, { method: "GET", secret: "s" });
  const { clients: back } = JSON.parse(health.body) as { clients: number };
  if (back !== clients) problems.push(`${back} of ${clients} clients are back`);
  const bins: number[] = [];
  for (const at of balancer.connects.filter((at) => at >= signalled)) {
    const bin = Math.floor((at - signalled) / 100);
    while (bins.length <= bin) bins.push(0);
    bins[bin]! += 1;
  }
  return {
    codes,
    connects: bins,
    publishes: published.size,
    missed: missed(),
    strangers: members.filter(({ sessions }) => sessions.size !== 1).length,
    seconds: (stopped - signalled) / 1000,
    problems,
  };
}
