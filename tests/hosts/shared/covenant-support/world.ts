// A Covenant app server, a Sidekick and any number of clients, built with the unmodified npm
// packages: the subjects of covenant.test.ts. Every forward must present the server secret.
//
// SIDEKICK_PEER, the command of a second Sidekick, puts the two ends apart: the app server calls
// that one, the clients connect to the first, and the two share a Redis server.
import "./node-polyfill.js";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToServer, httpClientToSidekick } from "@covenant-rpc/client/interfaces/http";
import { channel, declareCovenant, mutation, query } from "@covenant-rpc/core";
import type { SidekickOutgoingMessage } from "@covenant-rpc/core/sidekick/protocol";
import { CovenantServer } from "@covenant-rpc/server";
import { httpServerToSidekick } from "@covenant-rpc/server/interfaces/http";
import { z } from "zod";
import { type FetchHandler, toNodeListener } from "../../../../worker/demo/http-adapter.js";
import { requireSidekickSecret } from "../../../../worker/src/guard/index.js";
import { type RedisServer, startRedis } from "../../../engine/support/redis-server.js";
import { Inbox } from "./inbox.js";
import { type SidekickProcess, startSidekick } from "./sidekick-process.js";

const chatMessage = z.union([
  z.object({ fail: z.string(), fault: z.enum(["client", "server"]) }),
  z.object({ say: z.any(), fail: z.undefined().optional() }),
]);

export const covenant = declareCovenant({
  procedures: {
    getItem: query({ input: z.string(), output: z.number() }),
    addToItem: mutation({
      input: z.object({ id: z.string(), by: z.number() }),
      output: z.number(),
    }),
  },
  channels: {
    chat: channel({
      params: ["roomId"],
      connectionRequest: z.object({ username: z.string() }),
      connectionContext: z.object({ username: z.string() }),
      clientMessage: chatMessage,
      serverMessage: z.any(),
    }),
    /** Sends nothing by itself: for params, contexts and messages of any shape. */
    grid: channel({
      params: ["x", "y"],
      connectionRequest: z.any(),
      connectionContext: z.any(),
      clientMessage: z.any(),
      serverMessage: z.any(),
    }),
  },
});

export interface Heard {
  channel: string;
  params: Record<string, string>;
  data: unknown;
  context: unknown;
}

const peer = process.env["SIDEKICK_PEER"];
const serverSecret = "server-secret-of-the-tests";
export const sidekickSecret = "sidekick-secret-of-the-tests";

export async function startWorld(): Promise<World> {
  let handler: FetchHandler = () => new Response("starting", { status: 503 });
  const http = createServer(toNodeListener((request) => handler(request)));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const serverUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}/api/covenant`;
  try {
    const redis = peer === undefined ? undefined : await startRedis();
    const sidekicks = await startSidekicks(serverUrl, redis);
    const heard = new Inbox<Heard>();
    const app = createApp(sidekicks.at(-1)!.url, heard);
    handler = (request) => requireSidekickSecret(request, serverSecret) ?? app.handle(request);
    return new World(http, serverUrl, sidekicks, app, heard, redis);
  } catch (error) {
    http.close();
    throw error;
  }
}

/** One, or that of the clients and that of the app server. */
async function startSidekicks(serverUrl: string, redis?: RedisServer): Promise<SidekickProcess[]> {
  const options = { secret: sidekickSecret, serverUrl, serverSecret };
  if (redis === undefined) return [await startSidekick(options)];
  const flags = ["--engine", `redis://127.0.0.1:${redis.port}`];
  const both = [{}, { command: peer! }].map((it) => startSidekick({ ...options, flags, ...it }));
  return Promise.all(
    both.map(async (starting) => {
      const sidekick = await starting;
      while (!(await fetch(`${sidekick.url}/ready`)).ok)
        await new Promise((resolve) => setTimeout(resolve, 50));
      return sidekick;
    }),
  );
}

/** `heard` receives everything that reaches an onMessage. */
function createApp(sidekickUrl: string, heard: Inbox<Heard>) {
  const items = new Map<string, number>();
  const server = new CovenantServer(covenant, {
    contextGenerator: () => undefined,
    derivation: () => ({}),
    sidekickConnection: httpServerToSidekick(sidekickUrl, sidekickSecret),
    logLevel: "slient", // the package's spelling
  });
  server.defineProcedure("getItem", {
    resources: ({ inputs }) => [`item/${inputs}`],
    procedure: ({ inputs }) => items.get(inputs) ?? 0,
  });
  server.defineProcedure("addToItem", {
    resources: ({ inputs }) => [`item/${inputs.id}`],
    procedure: ({ inputs }) => {
      items.set(inputs.id, (items.get(inputs.id) ?? 0) + inputs.by);
      return items.get(inputs.id)!;
    },
  });
  server.defineChannel("chat", {
    onConnect: ({ inputs, params, reject }) => {
      if (inputs.username === "mallory")
        reject(`${inputs.username} may not enter ${params["roomId"]}`, "client");
      return { username: inputs.username };
    },
    onMessage: async ({ inputs, params, context, error }) => {
      heard.put({ channel: "chat", params, data: inputs, context });
      if (inputs.fail !== undefined) return error(inputs.fail, inputs.fault);
      await server.sendMessage("chat", params, { from: context.username, said: inputs.say });
    },
  });
  server.defineChannel("grid", {
    onConnect: ({ inputs }) => inputs,
    onMessage: ({ inputs, params, context }) =>
      heard.put({ channel: "grid", params, data: inputs, context }),
  });
  server.assertAllDefined();
  return server;
}

export class World {
  #peers: Peer[] = [];
  constructor(
    readonly http: Server,
    readonly serverUrl: string,
    readonly sidekicks: readonly SidekickProcess[],
    readonly app: ReturnType<typeof createApp>,
    readonly heard: Inbox<Heard>,
    readonly redis: RedisServer | undefined,
  ) {}

  /** That of the clients. */
  get sidekick(): SidekickProcess {
    return this.sidekicks[0]!;
  }

  client(): Peer {
    const peer = new Peer(this.serverUrl, this.sidekick.url);
    this.#peers.push(peer);
    return peer;
  }

  /** Closes every client. */
  hangUp(): void {
    for (const peer of this.#peers.splice(0)) peer.client.disconnect();
  }

  /**
   * Waits until the Sidekick holds this many clients: messages of two sockets have no defined
   * order.
   */
  async hasClients(count: number): Promise<void> {
    const ask = async () =>
      (
        await fetch(`${this.sidekick.url}/health`, {
          headers: { Authorization: `Bearer ${sidekickSecret}` },
        })
      ).json();
    let clients: number;
    for (let asked = 0; (clients = (await ask()).clients) !== count; asked++) {
      if (asked === 2_000)
        throw new Error(`timed out waiting for ${count} clients; there are ${clients}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async stop(): Promise<void> {
    this.hangUp();
    this.http.close();
    this.http.closeAllConnections();
    await Promise.all(this.sidekicks.map((sidekick) => sidekick.stop()));
    await this.redis?.kill();
  }
}

type ChannelName = keyof typeof covenant.channels;

/** One npm client, and everything its Sidekick connection delivers. */
export class Peer {
  readonly connection;
  readonly client;
  readonly received = new Inbox<SidekickOutgoingMessage>();
  #fences = 0;

  constructor(serverUrl: string, sidekickUrl: string) {
    this.connection = httpClientToSidekick(sidekickUrl);
    this.connection.onMessage((message) => this.received.put(message));
    this.client = new CovenantClient(covenant, {
      serverConnection: httpClientToServer(serverUrl, {}),
      sidekickConnection: this.connection,
    });
  }

  async token(
    name: ChannelName,
    params: Record<string, string>,
    request: unknown,
  ): Promise<string> {
    const result = await this.client.connect(name, params as never, request as never);
    if (!result.success) throw new Error(`connect was rejected: ${JSON.stringify(result.error)}`);
    return result.token;
  }

  /** Connects, subscribes, and waits until the Sidekick has confirmed it. */
  async join(name: ChannelName, params: Record<string, string>, request: unknown) {
    const token = await this.token(name, params, request);
    const messages = new Inbox<unknown>();
    const before = this.#confirmations();
    const leave = await this.client.subscribe(name, params as never, token, (data: unknown) =>
      messages.put(data),
    );
    await this.received.find("subscribed", () => this.#confirmations() > before);
    const send = (data: unknown) => this.client.send(name, params as never, token, data as never);
    return { token, messages, leave, send };
  }

  #confirmations(): number {
    return this.received.items.filter((message) => message.type === "subscribed").length;
  }

  errors() {
    return this.received.items.flatMap((message) =>
      message.type === "error" ? [message.error] : [],
    );
  }

  /**
   * The error that `sending` causes. Not how its promise ends: the client waits 100 ms for an error
   * before it reports success, so on a slow machine that depends on chance.
   */
  async errorOf(sending: Promise<unknown>) {
    const count = this.errors().length;
    sending.catch(() => undefined);
    await this.received.find(`error ${count + 1}`, () => this.errors().length > count);
    return this.errors()[count]!;
  }

  /** When it returns, everything that the Sidekick sent to this client earlier has arrived. */
  async fence(): Promise<void> {
    const resource = `fence/${this.#fences++}`;
    this.connection.sendMessage({ type: "listen", resources: [resource] });
    await this.received.find(resource, (message) => listensTo(message, resource));
  }
}

export const listensTo = (message: SidekickOutgoingMessage, resource: string): boolean =>
  message.type === "listening" && "resources" in message && message.resources.includes(resource);
