// A long conversation between clients, an app server and POSTs, determined by its seed, on a clock
// of its own. Returns what everyone saw, step by step, so that two runs can be compared. It draws
// steps and judges nothing.
import { setTimeout } from "node:timers/promises";
import type { Rig } from "./rig.ts";
import { FORWARD_TIMEOUT_MS, gatewaysOf, hubOf, limits, RETRY_MS, shardsOf } from "./rig.ts";
import {
  eventually,
  health,
  post,
  request,
  settle,
  settleWithShards,
  TestClient,
} from "./sidekick.ts";
import type { Step } from "./steps.ts";

const STEPS = 60;
const CLIENTS = 5;
const PAUSE_MS = 250_000;
/** By the real clock. Long enough for an answer that needs no retry. */
const RETRY_AFTER_MS = 100;
/** Days ahead of the real clock, so that alarms fire only when the conversation fires them. */
const CLOCK_MS = Math.floor(Date.now() / 1e8) * 1e8 + 1e9;
/**
 * Runs one conversation. `between` is called after every step, with the name of the object to which
 * the app server owes an answer.
 */
export async function converse(
  rig: Rig,
  seed: number,
  between: (owed: string | undefined) => Promise<void>,
  rules: Rules = {},
): Promise<Step[]> {
  const conversation = new Conversation(rig, seed, rules);
  await conversation.begin();
  for (let step = 0; step < STEPS; step++) {
    await conversation.step();
    await between(await conversation.owed());
  }
  await conversation.end();
  await between(undefined);
  return conversation.seen;
}

export interface Rules {
  /**
   * A client whose message the app server has not answered yet does not leave. Of several gateways,
   * only its own one could let another client use its token before: messages of one token reach the
   * app server in order.
   */
  readonly mustStay?: boolean;
}

interface Entry {
  readonly token: string;
  readonly channel: string;
  readonly params: Record<string, string>;
}

class Conversation {
  readonly seen: Step[] = [];
  readonly #rig: Rig;
  readonly #seed: number;
  readonly #rules: Rules;
  readonly #random: () => number;
  readonly #clients: (TestClient | undefined)[] = [];
  readonly #tokens: Entry[] = [];
  #now: number;
  /** The one message that the app server has not answered yet. */
  #slow: { readonly sender: number; readonly until: number } | undefined;
  /** The client that has said something last. */
  #speaker = 0;
  /** Sockets opened so far. */
  #opened = 0;
  /** The messages that each client received in this step. */
  #got: string[][] = [];

  constructor(rig: Rig, seed: number, rules: Rules) {
    this.#rig = rig;
    this.#seed = seed;
    this.#rules = rules;
    this.#random = generator(seed);
    this.#now = CLOCK_MS + seed * 1e9;
  }

  async owed(): Promise<string | undefined> {
    if (this.#slow === undefined) return undefined;
    for (const [gateway, name] of this.#gateways.entries())
      if ((await health(this.#port, this.#at(gateway))).forwards > 0) return name;
    throw new Error("expected a forward at some gateway");
  }

  async begin(): Promise<void> {
    await this.#setClock();
    for (let at = 0; at < CLIENTS - 1; at++) this.#clients[at] = await this.#connect();
    await this.#calm();
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
    const said = await drawn();
    await this.#hear();
    const forwards = this.#slow === undefined ? 0 : 1;
    await eventually(async () => (await this.#health()).forwards === forwards);
    await this.#calm();
    await this.#hear(); // including the effects of the app server's answer
    this.seen.push({
      said,
      got: this.#got,
      forwarded: this.#rig.forwarded(),
      inside: this.#rig.scale === undefined ? await this.#inside() : [],
    });
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
      this.#clients[at] = await this.#connect();
    } else {
      if (this.#rules.mustStay && this.#slow?.sender === at) await this.#answer();
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
    this.#speaker = at;
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
    await this.#hear(); // so that it gets the message
    said.push(await this.#publish(room));
    if (who !== undefined && this.#random() % 2 === 0)
      said.push(await this.#say({ type: "unsubscribe", token: this.#tokens.at(-1)!.token }, who));
    await this.#hear();
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
    this.#slow = { sender: this.#speaker, until: this.#now + FORWARD_TIMEOUT_MS };
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
    if (!isLate) await this.#fireAlarms([...this.#gateways, ...this.#shards], this.#now);
    let said = `${PAUSE_MS} ms pass`;
    if (this.#slow !== undefined && this.#slow.until <= this.#now) {
      // timed out; the forwards that waited behind it are sent
      await eventually(async () => (await this.#health()).forwards === 0);
      said += `, and the app server answers too late`;
      await this.#answer();
    }
    return said;
  }

  async #fireAlarms(objects: readonly string[], until: number): Promise<void> {
    const { test } = this.#rig.sidekick;
    for (const object of objects) {
      const at = await test(`alarm-at?hub=${object}`);
      if (at === null || at > until) continue;
      this.#now = Math.max(this.#now, at);
      await this.#setClock();
      await test(`alarm?hub=${object}`);
    }
  }

  // --- gateways and shards ---

  get #gateways(): readonly string[] {
    const { scale } = this.#rig;
    return scale === undefined ? [this.#hub] : gatewaysOf(this.#hub, scale);
  }

  get #shards(): readonly string[] {
    const { scale } = this.#rig;
    return scale === undefined ? [] : shardsOf(this.#hub, scale);
  }

  /** In place of one that the Worker draws. */
  #at(gateway: number): Record<string, string> {
    return { ...this.#headers, ...(this.#rig.scale && { "test-gateway": `${gateway}` }) };
  }

  /** Each socket is at the next gateway. */
  #connect(): Promise<TestClient> {
    return TestClient.connect(this.#port, this.#at(this.#opened++ % this.#gateways.length));
  }

  /** Gateways are connected to all shards, no call is under way, and no message is queued. */
  async #calm(): Promise<void> {
    if (this.#rig.scale === undefined) return;
    for (const gateway of this.#gateways.keys()) {
      const asked = { method: "GET", headers: this.#at(gateway) };
      const isCalm = async () => {
        const { body } = await request(this.#port, "/metrics", undefined, asked);
        return (
          body.includes(`sidekick_engine_shards{state="up"} ${this.#shards.length}\n`) &&
          body.includes("sidekick_engine_calls_pending 0\n")
        );
      };
      await eventually(isCalm, () => `gateway ${gateway} ends its calls`);
    }
    const gaps = "SELECT count(*) AS n FROM setting WHERE name LIKE 'gap/%'";
    for (const shard of this.#shards) {
      const isCalm = async () => (await this.#rig.sidekick.sql(gaps, shard))[0].n === 0;
      await eventually(isCalm, () => `${shard} has delivered everything`);
    }
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

  /** The sum of all gateways. */
  async #health(): Promise<{ clients: number; forwards: number }> {
    const sum = { clients: 0, forwards: 0 };
    for (const gateway of this.#gateways.keys()) {
      const { clients, forwards } = await health(this.#port, this.#at(gateway));
      sum.clients += clients;
      sum.forwards += forwards;
    }
    return sum;
  }

  #setClock(): Promise<unknown> {
    return this.#rig.sidekick.test(`clock?at=${this.#now}`);
  }

  /** Everything the clients sent has been handled, and its effects are noted. */
  async #hear(): Promise<void> {
    for (const [at, client] of this.#clients.entries())
      if (client !== undefined) this.#got[at]!.push(...(await this.#settled(client)));
  }

  /** A gateway asks for a token that another one holds once more: its alarm tells it when. */
  async #settled(client: TestClient): Promise<string[]> {
    if (this.#rig.scale === undefined) return settle(client);
    const heard = settleWithShards(client);
    for (;;) {
      const messages = await Promise.race([heard, setTimeout(RETRY_AFTER_MS)]);
      if (messages !== undefined) return messages;
      await this.#fireAlarms(this.#gateways, this.#now + RETRY_MS);
    }
  }

  async #inside(): Promise<string[]> {
    return [
      JSON.stringify(await health(this.#port, this.#headers)),
      `stored: ${await this.#stored()}`,
    ];
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
