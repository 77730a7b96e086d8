// A long conversation between clients, an app server and POSTs, determined by its seed, on a clock
// of its own. Returns what everyone saw, step by step, so that two runs can be compared. It draws
// steps and judges nothing.
import type * as http from "node:http";
import { startAppServer } from "../../shared/support/app-server.ts";
import type { WorkerdSidekick } from "./sidekick.ts";
import {
  eventually,
  health,
  post,
  request,
  settle,
  startSidekick,
  TestClient,
} from "./sidekick.ts";

const STEPS = 60;
const CLIENTS = 5;
const PAUSE_MS = 250_000;
/**
 * Longer than any conversation takes on any machine: the Worker's fetch times out by the real
 * clock.
 */
const FORWARD_TIMEOUT_MS = 300_000;
/** Days ahead of the real clock, so that alarms fire only when the conversation fires them. */
const CLOCK_MS = Math.floor(Date.now() / 1e8) * 1e8 + 1e9;
const limits = {
  auth_failure_delay_ms: 0,
  topics_per_client_max: 200,
  frame_bytes_max: 30_000,
  token_ttl_ms: 600_000,
  token_resume_ms: 450_000,
  forward_timeout_ms: FORWARD_TIMEOUT_MS,
};

/**
 * A Sidekick in workerd with an app server that withholds its answer to messages called slow until
 * `answer`.
 */
export interface Rig {
  readonly sidekick: WorkerdSidekick;
  readonly held: http.ServerResponse[];
  /** The bodies received since the last call. */
  forwarded(): string[];
  stop(): Promise<unknown>;
}

export const hubOf = (seed: number) => `seed-${seed}.example.com`;

/** @param scale settings of each hub: none, or gateways and shards */
export async function startRig(
  seeds: readonly number[],
  scale: { readonly gateways?: number; readonly shards?: number } = {},
): Promise<Rig> {
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
  return { sidekick, held, forwarded, stop: () => Promise.all([sidekick.stop(), app.close()]) };
}

/** Runs one conversation. `between` is called after every step. */
export async function converse(
  rig: Rig,
  seed: number,
  between: (hub: string, isForwarding: boolean) => Promise<void>,
): Promise<string[]> {
  const conversation = new Conversation(rig, seed);
  await conversation.begin();
  for (let step = 0; step < STEPS; step++) {
    await conversation.step();
    await between(hubOf(seed), conversation.isForwarding);
  }
  await conversation.end();
  await between(hubOf(seed), false);
  return conversation.seen;
}

interface Entry {
  readonly token: string;
  readonly channel: string;
  readonly params: Record<string, string>;
}

class Conversation {
  readonly seen: string[] = [];
  readonly #rig: Rig;
  readonly #seed: number;
  readonly #random: () => number;
  readonly #clients: (TestClient | undefined)[] = [];
  readonly #tokens: Entry[] = [];
  #now: number;
  /** The one message that the app server has not answered yet. */
  #slow: { readonly until: number } | undefined;
  /** What each client received in this step. */
  #got: string[][] = [];

  constructor(rig: Rig, seed: number) {
    this.#rig = rig;
    this.#seed = seed;
    this.#random = generator(seed);
    this.#now = CLOCK_MS + seed * 1e9;
  }

  get isForwarding(): boolean {
    return this.#slow !== undefined;
  }

  async begin(): Promise<void> {
    await this.#setClock();
    for (let at = 0; at < CLIENTS - 1; at++)
      this.#clients[at] = await TestClient.connect(this.#port, this.#headers);
  }

  async end(): Promise<void> {
    if (this.#slow !== undefined) await this.#answer();
    for (const client of this.#clients) await client?.close();
  }

  /** One step, and what everyone saw of it. */
  async step(): Promise<void> {
    const [frequency, steps] = [[3, 2, 1] as const, this.#steps()];
    const drawn = this.#pick(
      steps.flatMap((group, i) =>
        group.flatMap((step) => Array.from({ length: frequency[i]! }, () => step)),
      ),
    );
    this.#got = Array.from({ length: CLIENTS }, () => []);
    this.seen.push(await drawn());
    await this.#hear();
    await eventually(async () => (await this.#health()).forwards === (this.isForwarding ? 1 : 0));
    await this.#hear(); // including the effects of the app server's answer
    for (const [at, messages] of this.#got.entries())
      for (const message of messages) this.seen.push(`  client ${at} gets ${message}`);
    for (const body of this.#rig.forwarded()) this.seen.push(`  app server gets ${body}`);
    this.seen.push(
      `  ${JSON.stringify(await this.#health())}`,
      `  stored: ${await this.#stored()}`,
    );
  }

  /** Three times, then twice, then as often as once. */
  #steps(): (() => Promise<string>)[][] {
    const latest = () => this.#tokens.at(-1)?.token ?? "none";
    const any = () => this.#pick(this.#tokens)?.token ?? "none";
    return [
      [() => this.#publish(), () => this.#say({ type: "subscribe", token: latest() })],
      [
        () => this.#comeOrGo(),
        () => this.#register(this.#room()),
        () => this.#update(),
        () => this.#send(this.#pick(["hello", { a: [1] }, "refuse"])),
        () => this.#sendSlow(),
        () => this.#say({ type: "unsubscribe", token: any() }),
        () => this.#say({ type: "listen", resources: this.#resources() }),
        () => this.#say({ type: "unlisten", resources: this.#resources() }),
        () => this.#listenToMuch("listen"),
        () => this.#talkNonsense(),
      ],
      [
        () => this.#say({ type: "subscribe", token: any() }),
        () => this.#registerAgain(),
        () => this.#takeTwo(),
        () => this.#pause(),
        () => this.#listenToMuch("unlisten"),
        () => this.#postNonsense(),
        () => (this.#slow === undefined ? this.#sendSlow() : this.#answer()),
      ],
    ];
  }

  // --- clients ---

  async #comeOrGo(): Promise<string> {
    const at = this.#random() % CLIENTS;
    const client = this.#clients[at];
    if (client === undefined) {
      this.#clients[at] = await TestClient.connect(this.#port, this.#headers);
    } else {
      this.#clients[at] = undefined;
      await client.close();
      const open = this.#clients.filter((other) => other !== undefined).length;
      // the object notices by itself
      await eventually(async () => (await this.#health()).clients === open);
    }
    return `client ${at} connects or disconnects`;
  }

  async #say(message: object | string | Buffer, who?: number): Promise<string> {
    const open = [...this.#clients.keys()].filter((at) => this.#clients[at] !== undefined);
    if (open.length === 0) return this.#comeOrGo();
    const at = who ?? this.#pick(open);
    this.#clients[at]!.send(message);
    return `client ${at} says ${JSON.stringify(message).slice(0, 200)}`;
  }

  /**
   * Enough that the record of the client, or of two like it, does not fit an attachment; both
   * exceed the limit.
   */
  #listenToMuch(type: "listen" | "unlisten"): Promise<string> {
    const which = this.#pick(["first", "second"]);
    return this.#say({
      type,
      resources: Array.from({ length: 130 }, (_, i) => `much/${which}/${i}/${"x".repeat(130)}`),
    });
  }

  #talkNonsense(): Promise<string> {
    const nonsense = [
      "{ wrong",
      "",
      "[]",
      "\u0000",
      '{ "type": "nonsense" }',
      '{ "type": "listen" }',
      '{ "type": "send", "token": 7 }',
      "[".repeat(300),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('{ "type": "ping" }x'),
      " ".repeat(limits.frame_bytes_max + 1),
    ];
    return this.#say(this.#pick(nonsense));
  }

  /**
   * Two tokens of one client on one topic. The client receives each message once, until it
   * unsubscribes both.
   */
  async #takeTwo(): Promise<string> {
    const room = this.#room();
    const said = [await this.#register(room), await this.#register(room)];
    const who = [...this.#clients.keys()].find((at) => this.#clients[at] !== undefined);
    for (const { token } of this.#tokens.slice(-2))
      said.push(await this.#say({ type: "subscribe", token }, who));
    said.push(await this.#publish(room));
    if (who !== undefined && this.#random() % 2 === 0)
      said.push(await this.#say({ type: "unsubscribe", token: this.#tokens.at(-1)!.token }, who));
    said.push(await this.#publish(room));
    return said.join("; ");
  }

  // --- forwards ---

  /** With the token of the slow message it waits behind that message. */
  #send(data: unknown): Promise<string> {
    return this.#say({
      type: "send",
      ...(this.#pick(this.#tokens) ?? { token: "none", ...this.#room() }),
      data,
    });
  }

  async #sendSlow(): Promise<string> {
    if (this.#slow !== undefined) return this.#send("hello");
    const entry = this.#tokens.at(-1) ?? { token: "none", ...this.#room() };
    const said = await this.#say({ type: "send", ...entry, data: "slow" });
    await this.#hear();
    if ((await this.#health()).forwards === 0) return said; // it was rejected
    await eventually(() => this.#rig.held.length === 1);
    this.#slow = { until: this.#now + FORWARD_TIMEOUT_MS };
    return `${said}, and gets no answer yet`;
  }

  /** The app server answers at last; then the forwards waiting behind it are sent. */
  async #answer(): Promise<string> {
    this.#rig.held.pop()!.writeHead(400).end('{ "fault": "server", "message": "refused at last" }');
    this.#slow = undefined;
    return "the app server answers";
  }

  // --- HTTP ---

  async #register(room: Omit<Entry, "token">): Promise<string> {
    const entry = { token: `token-${this.#tokens.length}-${this.#seed}`, ...room };
    this.#tokens.push(entry);
    const { status, body } = await this.#post("/connection", {
      ...entry,
      context: { user: this.#pick(["ann", "bob", "\u00fcn\u00ef"]) },
    });
    return `register ${JSON.stringify(entry)}: ${status} ${body}`;
  }

  async #registerAgain(): Promise<string> {
    const { status, body } = await this.#post("/connection", {
      token: this.#pick(this.#tokens)?.token ?? "again",
      ...this.#room(),
      context: "again",
    });
    return `register again: ${status} ${body}`;
  }

  async #update(): Promise<string> {
    const resources = [...this.#resources(), `much/first/7/${"x".repeat(130)}`];
    const { status, body } = await this.#post("/resources", { resources });
    return `update ${resources.join()}: ${status} ${body}`;
  }

  async #publish(room = this.#room()): Promise<string> {
    const message = {
      ...room,
      data: { n: this.#random() % 1000, text: "\u00fcn\u00ef\ud83d\ude00" },
    };
    const { status, body } = await this.#post("/message", message);
    return `publish ${JSON.stringify(message)}: ${status} ${body}`;
  }

  async #postNonsense(): Promise<string> {
    const path = this.#pick(["/connection", "/resources", "/message", "/nothing"]);
    const secret = this.#pick(["test-secret", "test-secret", "wrong"]);
    const { status, body } = await request(
      this.#port,
      path,
      this.#pick(["", "{", "[]", '{"resources":7}']),
      { headers: this.#headers, secret },
    );
    return `post nonsense to ${path}: ${status} ${body}`;
  }

  // --- time ---

  /** Time passes. The alarm fires when it is due, or has not fired yet: it may be late. */
  async #pause(): Promise<string> {
    this.#now += PAUSE_MS;
    await this.#setClock();
    const isLate = this.#random() % 2 === 0;
    const alarmAt = await this.#rig.sidekick.test(`alarm-at?hub=${this.#hub}`);
    if (!isLate && alarmAt !== null && alarmAt <= this.#now)
      await this.#rig.sidekick.test(`alarm?hub=${this.#hub}`);
    let said = `${PAUSE_MS} ms pass`;
    if (this.#slow !== undefined && this.#slow.until <= this.#now) {
      // timed out; the forwards that waited behind it are sent
      await eventually(async () => (await this.#health()).forwards === 0);
      said += `, and the app server answers too late`;
      await this.#answer();
    }
    return said;
  }

  // --- draws, requests and observations ---

  get #hub(): string {
    return hubOf(this.#seed);
  }

  get #port(): number {
    return this.#rig.sidekick.port;
  }

  get #headers(): Record<string, string> {
    return { Host: this.#hub };
  }

  #post(path: string, body: unknown) {
    return post(this.#port, path, body, this.#headers);
  }

  #health() {
    return health(this.#port, this.#headers);
  }

  #setClock(): Promise<unknown> {
    return this.#rig.sidekick.test(`clock?at=${this.#now}`);
  }

  /** Everything the clients sent has been handled, and its effects are noted. */
  async #hear(): Promise<void> {
    for (const [at, client] of this.#clients.entries())
      if (client !== undefined) this.#got[at]!.push(...(await settle(client)));
  }

  /**
   * The tokens, the clients with records in rows, and whether the alarm is set for the first token
   * to expire.
   */
  async #stored(): Promise<string> {
    const tokens = await this.#rig.sidekick.sql(
      "SELECT key, state, expires_at FROM token ORDER BY key",
      this.#hub,
    );
    const [{ inRows }] = await this.#rig.sidekick.sql(
      "SELECT count(DISTINCT client) AS inRows FROM client",
      this.#hub,
    );
    const firstDue = Math.min(
      ...tokens.filter(({ state }) => state === 0).map(({ expires_at }) => expires_at),
    );
    const alarmAt = (await this.#rig.sidekick.test(`alarm-at?hub=${this.#hub}`)) ?? Infinity;
    const alarm = alarmAt <= firstDue ? "in time" : `at ${alarmAt}, too late for ${firstDue}`;
    return `${JSON.stringify(tokens)}, ${inRows} in rows, alarm ${alarm}`;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random() % items.length]!;
  }

  #room(): Omit<Entry, "token"> {
    return {
      channel: this.#pick(["chat", "grid"]),
      params: this.#pick([{}, { roomId: "1", x: "a,b:c/d" }]) as Record<string, string>,
    };
  }

  #resources(): string[] {
    return Array.from({ length: 1 + (this.#random() % 12) }, () => `todo/${this.#random() % 60}`);
  }
}

/** Small pseudo-random numbers from a seed: xorshift. */
function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state >>> 8;
  };
}
