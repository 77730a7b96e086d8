// Nodes of both hosts on one Redis, an app server that calls any of them, and clients at any of
// them: with the unmodified npm packages, or with covenant-sidekick/client.
import "../../hosts/shared/covenant-support/node-polyfill.ts";
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToServer, httpClientToSidekick } from "@covenant-rpc/client/interfaces/http";
import { CovenantServer } from "@covenant-rpc/server";
import { httpServerToSidekick } from "@covenant-rpc/server/interfaces/http";
import { WebSocket } from "ws";
import { type FetchHandler, toNodeListener } from "../../../worker/demo/http-adapter.ts";
import { connectSidekick, type Sidekick, withAcks } from "../../../worker/src/client/index.ts";
import { requireSidekickSecret } from "../../../worker/src/guard/index.ts";
import { covenant } from "../../client/support/covenant.ts";
import { atEnd, listen } from "../../hosts/shared/support/left-open.ts";
import {
  eventually,
  request,
  SECRET,
  type TestClient,
} from "../../hosts/shared/support/sidekick.ts";
import { type EngineNode, fileForTest, startNode } from "./node.ts";
import { type RedisProxy, startProxy } from "./proxy.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";

export const SERVER_SECRET = "server-secret-of-the-tests";
const root = fileURLToPath(new URL("../../../", import.meta.url));

const HOSTS = {
  node: [process.execPath, `${root}worker/dist/node/cli.js`],
  native: [process.env["SIDEKICK_NATIVE"] ?? `${root}build/native/sidekick-server`],
};
export type Kind = keyof typeof HOSTS;

/** A channel has one room per test. */
export const ROOM = { room: "1" };

export interface ClusterOptions {
  /** Limits of the hub, for all nodes. */
  readonly config?: object;
  /** More flags, by the place of the node. */
  readonly flags?: (place: number) => readonly string[];
  /** Between the nodes and Redis. */
  readonly hasProxy?: boolean;
}

/** The first node is the one that the app server calls. */
export async function startCluster(kinds: readonly Kind[], options: ClusterOptions = {}) {
  const redis = await startRedis();
  const proxy = options.hasProxy ? await startProxy(redis.port) : undefined;
  const cluster = new Cluster(redis, proxy, await startApp(), options);
  await Promise.all(kinds.map((kind, i) => cluster.startNode(kind, i)));
  cluster.callNode(0);
  return cluster;
}

export class Cluster {
  readonly redis: RedisServer;
  readonly proxy: RedisProxy | undefined;
  readonly app: App;
  readonly nodes: EngineNode[] = [];
  readonly #config: string;
  readonly #flags: (place: number) => readonly string[];

  constructor(
    redis: RedisServer,
    proxy: RedisProxy | undefined,
    app: App,
    options: ClusterOptions,
  ) {
    const { config = {}, flags = () => [] } = options;
    this.redis = redis;
    this.proxy = proxy;
    this.app = app;
    this.#config = fileForTest("config.json", JSON.stringify(config));
    this.#flags = flags;
  }

  /** @param isAway whether Redis is */
  async startNode(kind: Kind, place = this.nodes.length, isAway = false): Promise<EngineNode> {
    const flags = ["--config", this.#config, "--server-url", this.app.url];
    flags.push("--server-secret", SERVER_SECRET, ...this.#flags(place));
    const env = { SIDEKICK_ENGINE: `redis://127.0.0.1:${(this.proxy ?? this.redis).port}` };
    const node = await startNode(flags, env, { host: HOSTS[kind], isAway });
    this.nodes[place] = node;
    return node;
  }

  /** From now on, the app server calls this node. */
  callNode(place: number): void {
    this.app.sidekick = httpServerToSidekick(urlOf(this.nodes[place]!), SECRET);
  }

  /** With the npm connection. */
  npmClient(place: number): any {
    return npmClient(this.app, urlOf(this.nodes[place]!));
  }

  /** With covenant-sidekick/client. It reconnects at once. */
  client(place: number): MovingClient {
    return new MovingClient(this, place);
  }

  socketAt(place: number): SocketAddress {
    return { url: `ws://127.0.0.1:${this.nodes[place]!.listening}/socket` };
  }

  /** POST /message to a node. */
  async publish(place: number, data: unknown): Promise<number> {
    const body = JSON.stringify({ channel: "chat", params: ROOM, data });
    return (await request(this.nodes[place]!.listening, "/message", body)).status;
  }

  async areUp(times: number): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.isUp(times)));
  }

  async areDown(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.isDown()));
  }
}

export function npmClient(app: App, sidekickUrl: string): any {
  const client: any = new CovenantClient(covenant as any, {
    serverConnection: httpClientToServer(app.url, {}),
    sidekickConnection: httpClientToSidekick(sidekickUrl),
  });
  atEnd(() => client.disconnect());
  return client;
}

/**
 * A client of the npm packages listens and hears of its mutation; it subscribes, gets ten messages
 * in order, and sends one. Then it disconnects.
 */
export async function converse(app: App, client: any, name: string): Promise<void> {
  const seen: number[] = [];
  client.listen("query", name, ({ data }: any) => seen.push(data), true);
  await eventually(() => seen.length === 1);
  const confirmed: string[] = [];
  client.sidekickConnection.onMessage(({ type }: any) => confirmed.push(type));
  const { token } = await client.connect("chat", ROOM, name);
  const messages: unknown[] = [];
  await client.subscribe("chat", ROOM, token, (data: unknown) => messages.push(data));
  await eventually(() => confirmed.includes("subscribed"));

  await client.mutate("change", name);
  await eventually(() => seen.includes(1));
  for (const data of numbers(10))
    assert.equal(await app.server.sendMessage("chat", ROOM, data), null);
  await eventually(() => messages.length >= 10);
  assert.deepEqual(messages, numbers(10));

  await client.send("chat", ROOM, token, name);
  await eventually(() => app.heard.some(({ data }) => data === name));
  assert.deepEqual(app.heard.at(-1), { data: name, context: name });
  client.disconnect();
}

/** All clients claim the token at once: one gets it, and gives it back. */
export async function oneClaims(clients: readonly TestClient[], token: string): Promise<void> {
  for (const client of clients) client.send({ type: "subscribe", token });
  const answers = await Promise.all(clients.map((client) => client.next()));
  const [won, ...others] = clients.filter((_, i) => answers[i].type === "subscribed");
  assert.ok(won !== undefined && others.length === 0, JSON.stringify(answers));
  for (const { type, error } of answers)
    if (type !== "subscribed") assert.match(error.message, /^invalid token/);
  won.send({ type: "unsubscribe", token });
  assert.equal((await won.next()).type, "unsubscribed");
}

/** 0 to `count` - 1 */
export const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

const urlOf = ({ listening }: EngineNode) => `http://127.0.0.1:${listening}`;

export interface App {
  readonly url: string;
  readonly server: any;
  /** Messages that clients have sent, with the context of their token. */
  readonly heard: { data: unknown; context: unknown }[];
  /** Tokens that it has issued. */
  tokens: number;
  sidekick: ReturnType<typeof httpServerToSidekick>;
}

/** Of the npm server: its queries read numbers, which its mutation counts up. */
export async function startApp(): Promise<App> {
  const counts = new Map<string, number>();
  const heard: App["heard"] = [];
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  const port = await listen(createServer(toNodeListener((request) => handler(request))));
  const app = { url: `http://127.0.0.1:${port}`, heard, tokens: 0 } as unknown as App;
  const server: any = new CovenantServer(covenant as any, {
    contextGenerator: () => undefined,
    derivation: () => ({}),
    sidekickConnection: {
      addConnection: (payload: any) => app.sidekick.addConnection(payload),
      // A test may end before the answer, which the npm server does not await.
      update: (resources: any) => app.sidekick.update(resources).catch(() => {}),
      postMessage: (message: any) => app.sidekick.postMessage(message),
    } as any,
    logLevel: "slient", // the package's spelling
  });
  server.defineProcedure("query", {
    resources: ({ inputs }: any) => [`number/${inputs}`],
    procedure: ({ inputs }: any) => counts.get(inputs) ?? 0,
  });
  server.defineProcedure("change", {
    resources: ({ inputs }: any) => [`number/${inputs}`],
    procedure: ({ inputs }: any) => {
      counts.set(inputs, (counts.get(inputs) ?? 0) + 1);
      return counts.get(inputs);
    },
  });
  server.defineChannel("chat", {
    onConnect: ({ inputs }: any) => {
      app.tokens++;
      return inputs;
    },
    onMessage: ({ inputs, context }: any) => void heard.push({ data: inputs, context }),
  });
  server.assertAllDefined();
  handler = (request) => requireSidekickSecret(request, SERVER_SECRET) ?? server.handle(request);
  return Object.assign(app, { server });
}

/** A socket whose network can fail without either end being told. */
class Socket extends WebSocket {
  isFrozen = false;

  freeze(): void {
    this.isFrozen = true;
    this.pause();
  }

  thaw(): void {
    this.isFrozen = false;
    this.resume();
  }

  override send(...args: any[]): void {
    if (!this.isFrozen) (super.send as any)(...args);
  }

  override close(...args: any[]): void {
    if (!this.isFrozen) (super.close as any)(...args);
  }
}

export interface SocketAddress {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client can move between the places of these. */
export interface Places {
  readonly app: Pick<App, "url">;
  socketAt(place: number): SocketAddress;
}

export class MovingClient {
  readonly sidekick: Sidekick;
  readonly client: any;
  /** The messages of the channel, and "gap", as they came. */
  readonly heard: unknown[] = [];
  /** The other events, and the states. */
  readonly told: string[] = [];
  readonly sockets: Socket[] = [];
  token = "";
  #place: number;

  constructor(places: Places, place: number) {
    this.#place = place;
    const { sockets } = this;
    const address = () => places.socketAt(this.#place);
    const Moving = class extends Socket {
      constructor() {
        const { url, headers = {} } = address();
        super(url, { perMessageDeflate: false, headers });
        sockets.push(this);
        this.on("error", () => {});
        atEnd(() => this.terminate());
      }
    };
    this.sidekick = connectSidekick("http://a-load-balancer", {
      WebSocket: Moving,
      server: httpClientToServer(places.app.url, {}),
      ...{ baseMs: 10, capMs: 100, probeMs: 1000 },
    });
    const serverConnection = this.sidekick.server as any;
    const connections = { serverConnection, sidekickConnection: this.sidekick };
    this.client = withAcks(new CovenantClient(covenant as any, connections), this.sidekick);
    this.sidekick.on("gap", () => this.heard.push("gap"));
    this.sidekick.on("state", ({ name }) => this.told.push(name));
    this.sidekick.on("problem", ({ code, message }) => this.told.push(code ?? message));
    this.sidekick.on("channelLost", ({ error }) => this.told.push(error.message));
    atEnd(() => this.sidekick.disconnect());
  }

  /** Subscribes with a new token, confirmed. */
  async join(): Promise<void> {
    this.token = (await this.client.connect("chat", ROOM, "the context")).token;
    const isConfirmed = new Promise<void>((resolve) =>
      this.sidekick.onMessage(({ type }) => type === "subscribed" && resolve()),
    );
    await this.client.subscribe("chat", ROOM, this.token, (data: unknown) => this.heard.push(data));
    await isConfirmed;
  }

  send(data: unknown): Promise<void> {
    return this.client.send("chat", ROOM, this.token, data);
  }

  /** The values of a query, as they came; resolves once it listens. */
  async watch(name: string): Promise<unknown[]> {
    const seen: unknown[] = [];
    this.client.listen("query", name, ({ data }: any) => seen.push(data), true);
    await eventually(() => seen.length > 0);
    return seen;
  }

  async isLive(): Promise<void> {
    await eventually(
      () => this.sidekick.state.name === "live",
      () => `${this.sidekick.state.name} ${this.sidekick.state.reason}`,
    );
  }

  /** The next sockets lead to this node. */
  moveTo(place: number): void {
    this.#place = place;
  }

  /** Resolves when it has heard this. */
  async hears(data: unknown): Promise<void> {
    await eventually(
      () => this.heard.includes(data),
      () => `${data} in ${this.heard}`,
    );
  }
}
