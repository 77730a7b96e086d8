// The Worker that tests/bench/cloudflare.ts measures in workerd: the Worker as deployed; a Durable
// Object that does the same with Maps and JSON, as one would write it by hand; and `/bench/...`,
// which puts an object to sleep or repeats one step of a wake.
import { DurableObject } from "cloudflare:workers";
import unsafe from "workerd:unsafe";
import wasm from "../../worker/module/sidekick.wasm";
import { readAttachment } from "../../worker/src/cloudflare/attachment.js";
import { SidekickObject as RealObject } from "../../worker/src/cloudflare/object.js";
import type { Env as RealEnv } from "../../worker/src/cloudflare/settings.js";
import { Store, TokenRows } from "../../worker/src/cloudflare/store.js";
import worker from "../../worker/src/cloudflare/worker.js";
import { Hub } from "../../worker/src/module/hub.js";

export { AppServer } from "../../worker/src/cloudflare/app-server.js";
export { SidekickShard } from "../../worker/src/cloudflare/shard-object.js";

interface Env extends RealEnv {
  readonly PLAIN: DurableObjectNamespace<PlainObject>;
}

const CONFIG = '{"secrets":["x"],"hash_seed":"0123456789abcdef"}';

export class SidekickObject extends RealObject {
  /**
   * Does one part of a wake `times` times. The Worker's clock stands still meanwhile: the caller
   * uses its own.
   */
  repeat(step: string, times: number): void {
    const sockets = this.ctx.getWebSockets();
    const record =
      '{ "tokens": ["token-0123456789-0123456789-0123456789"], "resources": ["todo/1", "todo/2"] }';
    for (let i = 0; i < times; i++) {
      switch (step) {
        case "nothing":
          break;
        case "instantiate":
          Hub.create(wasm, CONFIG);
          break;
        case "sockets":
          this.ctx.getWebSockets();
          break;
        case "attachments":
          for (const socket of sockets) readAttachment(socket);
          break;
        case "store": {
          const store = new Store(this.ctx.storage);
          store.settings.settled("hub", () => "");
          store.settings.settled("hash_seed", () => "");
          break;
        }
        case "raw-instance":
          new WebAssembly.Instance(wasm, {});
          break;
        case "rows":
          for (const _ of new TokenRows(this.ctx.storage.sql).all());
          break;
        case "tokens": {
          const hub = Hub.create(wasm, CONFIG);
          for (const token of new TokenRows(this.ctx.storage.sql).all())
            hub.handle(0, { type: "restore_token", ...token });
          break;
        }
        case "restore": {
          const hub = Hub.create(wasm, CONFIG);
          for (let client = 1; client <= sockets.length; client++)
            hub.handle(0, { type: "restore_client", client, record });
          break;
        }
      }
    }
  }
}

interface Attached {
  tokens: string[];
  resources: string[];
}

interface Registered {
  readonly channel: string;
  readonly params: Record<string, string>;
}

/** The simplest one that keeps its clients through hibernation. It does not validate input. */
export class PlainObject extends DurableObject<Env> {
  readonly #topics = new Map<string, Set<WebSocket>>();
  readonly #tokens = new Map<string, Registered>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS token " +
        "(token TEXT PRIMARY KEY, registered TEXT NOT NULL) WITHOUT ROWID",
    );
    for (const row of ctx.storage.sql.exec<{ token: string; registered: string }>(
      "SELECT * FROM token",
    )) {
      this.#tokens.set(row.token, JSON.parse(row.registered) as Registered);
    }
    for (const socket of ctx.getWebSockets()) {
      const { tokens, resources } = socket.deserializeAttachment() as Attached;
      for (const token of tokens) this.#join(topicOf(this.#tokens.get(token)!), socket);
      for (const resource of resources) this.#join(`resource:${resource}`, socket);
    }
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/socket") {
      const { 0: theirs, 1: ours } = new WebSocketPair();
      this.ctx.acceptWebSocket(ours);
      ours.serializeAttachment({ tokens: [], resources: [] } satisfies Attached);
      return new Response(null, { status: 101, webSocket: theirs });
    }
    if (request.headers.get("Authorization") !== `Bearer ${this.env.SIDEKICK_SECRET}`)
      return new Response("Unauthorized", { status: 401 });
    const body = (await request.json()) as any;
    switch (pathname) {
      case "/connection":
        this.#tokens.set(body.token, body);
        this.ctx.storage.sql.exec(
          "INSERT OR REPLACE INTO token VALUES (?, ?)",
          body.token,
          JSON.stringify(body),
        );
        break;
      case "/message":
        this.#publish(
          topicOf(body),
          JSON.stringify({
            type: "message",
            channel: body.channel,
            params: body.params,
            data: body.data,
          }),
        );
        break;
      case "/resources":
        for (const resource of body.resources)
          this.#publish(`resource:${resource}`, JSON.stringify({ type: "updated", resource }));
        break;
    }
    return new Response("OK");
  }

  override webSocketMessage(socket: WebSocket, text: string): void {
    const message = JSON.parse(text);
    const attached = socket.deserializeAttachment() as Attached;
    switch (message.type) {
      case "ping":
        return socket.send('{"type":"pong"}');
      case "subscribe": {
        const { channel, params } = this.#tokens.get(message.token)!;
        this.#join(topicOf({ channel, params }), socket);
        attached.tokens.push(message.token);
        socket.serializeAttachment(attached);
        return socket.send(JSON.stringify({ type: "subscribed", channel, params }));
      }
      case "listen":
        for (const resource of message.resources) this.#join(`resource:${resource}`, socket);
        attached.resources.push(...message.resources);
        socket.serializeAttachment(attached);
        return socket.send(JSON.stringify({ type: "listening", resources: message.resources }));
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    for (const subscribers of this.#topics.values()) subscribers.delete(socket);
    socket.close(code === 1005 || code === 1006 ? 1000 : code);
  }

  #join(topic: string, socket: WebSocket): void {
    let subscribers = this.#topics.get(topic);
    if (subscribers === undefined) this.#topics.set(topic, (subscribers = new Set()));
    subscribers.add(socket);
  }

  #publish(topic: string, text: string): void {
    for (const socket of this.#topics.get(topic) ?? []) socket.send(text);
  }
}

function topicOf({ channel, params }: Registered): string {
  return `channel:${channel}/${Object.keys(params)
    .sort()
    .map((key) => `${key}:${params[key]}`)
    .join()}`;
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    const plain = env.PLAIN.getByName("plain");
    const sidekick = env.SIDEKICK.getByName(
      "sidekick",
    ) as unknown as DurableObjectStub<SidekickObject>;
    const isPlain = url.hostname === "plain";
    switch (url.pathname) {
      case "/bench/evict":
        await unsafe.evict(isPlain ? plain : sidekick, { webSockets: "hibernate" });
        return new Response();
      case "/bench/repeat":
        await sidekick.repeat(url.searchParams.get("step")!, Number(url.searchParams.get("times")));
        return new Response();
    }
    return isPlain ? plain.fetch(request) : worker.fetch(request, env, ctx);
  },
};
