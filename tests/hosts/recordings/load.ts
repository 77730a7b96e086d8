// A load run of a few seconds through one host: hundreds of sockets that listen, publish, send,
// disconnect, reconnect and send nonsense, and an app server that answers, rejects, fails and
// hangs. Records what everyone sent and received. Judges nothing.
//
// This is not the generator of scripts/bench, which stops at anything unusual: here half of the
// traffic is unusual.
import type * as http from "node:http";
import { eventually, health } from "../cloudflare/support/sidekick.ts";
import { startAppServer } from "../shared/support/app-server.ts";
import { RawConnection, request, SECRET } from "../shared/support/sidekick.ts";
import type { Host, LiveHost } from "./hosts.ts";
import type { Random } from "./random.ts";
import { random } from "./random.ts";
import { Visitor } from "./visitor.ts";

const VISITORS = 240;
const ROOMS = 12;
const TODOS = 100;
const ROUNDS = 12;
const AT_ONCE = 16;
/**
 * Maximum number of large messages sent to a client that does not read, before the host reports it
 * as lagging. About 70 fill Linux's buffers for a socket, more if they are configured larger
 * (net.ipv4.tcp_rmem, net.ipv4.tcp_wmem).
 */
const LARGE_MESSAGES_MAX = 2000;
const limits = {
  auth_failure_delay_ms: 0,
  frame_bytes_max: 16_384,
  http_body_bytes_max: 65_536,
  client_buffer_bytes_max: 131_072,
  forward_timeout_ms: 1000,
  token_ttl_ms: 1500,
  frames_per_second: 0,
};

export interface Post {
  readonly path: string;
  readonly body: Buffer;
  readonly status: number;
}

export interface Load {
  readonly file: string;
  /** All visitors so far. */
  readonly visitors: readonly Visitor[];
  /** The visitors who stayed to the end and received everything meant for them. */
  readonly stayed: ReadonlySet<Visitor>;
  /** The POSTs with the right secret and a readable body. */
  readonly posts: readonly Post[];
  /** The bodies that reached the app server. */
  readonly forwarded: readonly string[];
}

export async function recordLoad(host: Host, folder: string, seed: number): Promise<Load> {
  const dice = random(seed);
  const app = await startAppServer((response, { body }) => answer(response, body));
  const live = await host.start({ serverUrl: app.url, limits, folder });
  try {
    const crowd = new Crowd(live, dice);
    await crowd.come();
    for (let round = 0; round < ROUNDS; round++) {
      await crowd.live();
      if (round === ROUNDS / 2) await crowd.rest(() => live.sleep());
    }
    if (host.seesLag) await crowd.neglectOne();
    await crowd.rest();
    const stayed = new Set(crowd.there());
    const file = await live.stop();
    return {
      file,
      visitors: crowd.visitors,
      stayed,
      posts: crowd.posts,
      forwarded: app.forwarded.map(({ body }) => body),
    };
  } finally {
    await app.close();
  }
}

/** As the message itself says. */
function answer(response: http.ServerResponse, body: string): void {
  if (body.includes("refuse me"))
    response
      .writeHead(400)
      .end('{ "fault": "client", "message": "Das möchte ich nicht: \\u2603" }');
  else if (body.includes("break")) response.writeHead(500).end("<h1>oh \u0000 no</h1>");
  else if (body.includes("cut me off")) response.destroy();
  else if (body.includes("never answer")) return;
  else if (body.includes("later")) setTimeout(() => response.writeHead(204).end(), 30);
  else response.writeHead(204).end();
}

interface Token {
  readonly token: string;
  readonly channel: string;
  readonly params: Readonly<Record<string, string>>;
}

class Crowd {
  readonly visitors: Visitor[] = [];
  readonly posts: Post[] = [];
  readonly #live: LiveHost;
  readonly #dice: Random;
  /** Of the connected visitors. */
  readonly #tokens = new Map<Visitor, Token[]>();
  #numbers = 0;

  constructor(live: LiveHost, dice: Random) {
    this.#live = live;
    this.#dice = dice;
  }

  there(): Visitor[] {
    return [...this.#tokens.keys()].filter((visitor) => visitor.isThere);
  }

  async come(): Promise<void> {
    await this.#inParallel(VISITORS, () => this.#newcomer());
    await this.#settled();
  }

  /** One round: every visitor acts, and so does the app server. */
  async live(): Promise<void> {
    const there = this.there();
    for (const visitor of there) this.#chat(visitor);
    for (let i = 0; i < 12; i++) this.#dice.pick(there).say(this.#nonsense());
    await this.#inParallel(40, () => this.#postSomething());
    for (let i = 0; i < 6; i++) await this.#goAndComeBack(this.#dice.pick(this.there()));
    await this.#halfAFrame();
  }

  /** Resolves when the host is idle, after running `then` while it is. */
  async rest(then?: () => Promise<void>): Promise<void> {
    await this.#settled();
    await eventually(async () => (await health(this.#live.port)).forwards === 0);
    await this.#settled();
    await then?.();
  }

  /** A visitor who listens and does not read, until the host drops it. */
  async neglectOne(): Promise<void> {
    const params = { room: "of the one who does not read" };
    const lazy = await this.#visitor();
    await this.#join(lazy, { token: `lazy-${this.#number()}`, channel: "chat", params });
    await lazy.settled();
    const before = this.there().length;
    // the drop is noticed later
    await eventually(async () => (await health(this.#live.port)).clients === before);
    lazy.stopReading();
    for (let i = 0; i < LARGE_MESSAGES_MAX; i++) {
      await this.#post("/message", { channel: "chat", params, data: "x".repeat(60_000) });
      if ((await health(this.#live.port)).clients < before) return;
    }
    throw new Error(
      `a client that has not read ${LARGE_MESSAGES_MAX} messages of 60,000 bytes is still ` +
        "connected",
    );
  }

  // --- clients ---

  async #newcomer(): Promise<void> {
    const visitor = await this.#visitor();
    visitor.say({ type: "listen", resources: Array.from({ length: 5 }, () => this.#todo()) });
    await this.#join(visitor, this.#room());
    if (this.#dice.below(8) === 0) await this.#join(visitor, this.#room());
  }

  async #visitor(): Promise<Visitor> {
    const visitor = await Visitor.connect(this.#live.port, `visitor-${this.#number()}`);
    this.visitors.push(visitor);
    this.#tokens.set(visitor, []);
    return visitor;
  }

  async #join(visitor: Visitor, token: Token): Promise<void> {
    await this.#post("/connection", {
      ...token,
      context: { user: visitor.name, note: "naïve 🙂" },
    });
    visitor.say({ type: "subscribe", token: token.token });
    this.#tokens.get(visitor)!.push(token);
  }

  #chat(visitor: Visitor): void {
    const token = this.#dice.pick(this.#tokens.get(visitor)!);
    const send = (data: unknown) => visitor.say({ type: "send", ...token, data });
    const about = () =>
      `${this.#dice.pick(["hello", "hello", "hello", "später, later", "refuse me", "break"])} #${this.#number()} 🧀`;
    const ways: (() => void)[] = [
      () => send(about()),
      () => send({ text: about(), n: [1, 2.5, null, { deep: [[[]]] }] }),
      () => {
        for (let i = 0; i < 3; i++) send(about());
      },
      () => visitor.say({ type: "listen", resources: [this.#todo(), this.#todo()] }),
      () => visitor.say({ type: "unlisten", resources: [this.#todo()] }),
      () => visitor.say({ type: "subscribe", token: token.token }),
    ];
    if (this.#dice.below(60) === 0)
      send(`${this.#dice.pick(["never answer", "cut me off"])} #${this.#number()}`);
    else this.#dice.pick(ways)();
  }

  #nonsense(): string | Buffer | object {
    const someone = this.#dice.pick(
      [...this.#tokens.values()].filter((tokens) => tokens.length > 0),
    )[0]!;
    return this.#dice.pick([
      "",
      "{",
      "[]",
      "\u0000",
      "null",
      '{ "type": "dance" }',
      '{ "type": "listen" }',
      "[".repeat(400),
      "日本語",
      '{"type":"listen","resources":[7]}',
      Buffer.from([0xff, 0xfe, 0x00]),
      Buffer.from([0xc3, 0x28, 0x0a, 0x0d]),
      Buffer.from('{"type":"listen","resources":["binary"]}'),
      `{"type":"listen","resources":["${"y".repeat(limits.frame_bytes_max)}"]}`,
      `{"type":"listen","resources":["line\\nbreak\u2028"]}`,
      { type: "subscribe", token: "of nobody" },
      { type: "subscribe", token: someone.token },
      { type: "unsubscribe", token: someone.token },
      { type: "send", ...someone, data: "with another client's token" },
      { type: "send", ...someone, params: { other: "room" }, data: 1 },
    ]);
  }

  /** In one of the ways in which sockets close; most visitors reconnect with their token. */
  async #goAndComeBack(visitor: Visitor): Promise<void> {
    const tokens = this.#tokens.get(visitor)!;
    this.#tokens.delete(visitor);
    visitor.say({ type: "send", ...tokens[0]!, data: `the last word of ${visitor.name}` });
    if (this.#dice.below(3) === 0) {
      for (const { token } of tokens) visitor.say({ type: "unsubscribe", token });
      await visitor.leave();
      return this.#newcomer();
    }
    visitor.drop();
    const again = await this.#visitor();
    for (const token of tokens) {
      again.say({ type: "subscribe", token: token.token });
      this.#tokens.get(again)!.push(token);
    }
  }

  async #halfAFrame(): Promise<void> {
    const raw = await RawConnection.upgrade(this.#live.port);
    raw.write(Buffer.from([0x81, 0x85, 1, 2, 3, 4, 5]));
    raw.socket.destroy();
  }

  // --- HTTP ---

  async #postSomething(): Promise<void> {
    const { channel, params } = this.#room();
    const ways: (() => Promise<unknown>)[] = [
      () =>
        this.#post("/message", {
          channel,
          params,
          data: { text: `news #${this.#number()} ☕`, at: [1, null] },
        }),
      () =>
        this.#post("/message", {
          channel,
          params,
          data: `news #${this.#number()} ${"z".repeat(200)}`,
        }),
      () => this.#post("/resources", { resources: [this.#todo(), this.#todo(), this.#todo()] }),
      () => this.#post("/connection", { ...this.#room(), context: null }), // nobody takes it
    ];
    const nonsense: (() => Promise<unknown>)[] = [
      () => this.#post("/message", Buffer.from([0x7b, 0xff])),
      () => this.#post("/connection", "{ wrong"),
      () => this.#post("/connection", { token: "", channel: "", params: { "": "" } }),
      () => this.#elsewhere("/message", { secret: "wrong" }),
      () => this.#elsewhere("/nowhere"),
      () => this.#elsewhere("/message", { method: "PUT" }),
      () => this.#elsewhere("/resources", {}, "x".repeat(limits.http_body_bytes_max + 1)),
    ];
    await this.#dice.pick(this.#dice.below(10) === 0 ? nonsense : ways)();
  }

  async #post(path: string, what: object | string): Promise<void> {
    const body = Buffer.isBuffer(what)
      ? what
      : Buffer.from(typeof what === "string" ? what : JSON.stringify(what));
    const { status } = await request(this.#live.port, path, body);
    this.posts.push({ path, body, status });
  }

  /** The answers that a host may give without its hub. */
  async #elsewhere(
    path: string,
    options: { secret?: string; method?: string } = {},
    body = "{}",
  ): Promise<void> {
    // an unwanted body may be cut off
    await request(this.#live.port, path, body, { secret: SECRET, ...options }).catch(() => {});
  }

  async #settled(): Promise<void> {
    await Promise.all(this.there().map((visitor) => visitor.settled()));
  }

  async #inParallel(times: number, one: () => Promise<void>): Promise<void> {
    for (let i = 0; i < times; i += AT_ONCE)
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, times - i) }, one));
  }

  #number(): number {
    return this.#numbers++;
  }

  #todo(): string {
    return `todo/${this.#dice.below(TODOS)}`;
  }

  #room(): Token {
    return {
      token: `token-${this.#number()}-ü`,
      channel: "chat",
      params: { room: `№ ${this.#dice.below(ROOMS)}`, side: "a,b:c" },
    };
  }
}
