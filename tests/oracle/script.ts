// A conversation: the steps of clients and the app server, and a generator for them. One seed gives
// one conversation. The generator guesses who holds which token, but knows nothing of either
// Sidekick's answers. Both sides skip a step that makes no sense (such as a frame of a closed
// client), so that shrinking can drop any step.
import ION from "@covenant-rpc/ion";

import { asWePrint } from "../ion/differences.ts";
import { generateValue, mutate } from "../ion/generate.ts";
import { Random } from "../ion/random.ts";

export type Step =
  | { readonly do: "open" | "close"; readonly client: number }
  | { readonly do: "frame"; readonly client: number; readonly text: string }
  | { readonly do: "post"; readonly path: string; readonly body: string }
  /**
   * The app server answers one of its unanswered forwards, counted from the oldest; status 0: it
   * closes the connection.
   */
  | {
      readonly do: "answer";
      readonly forward: number;
      readonly status: number;
      readonly body: string;
    }
  | { readonly do: "wait"; readonly ms: number };

export function show(step: Step): string {
  switch (step.do) {
    case "open":
    case "close":
      return `${step.do} ${step.client}`;
    case "frame":
      return `${step.client}: ${step.text}`;
    case "post":
      return `post ${step.path} ${step.body}`;
    case "answer":
      return `answer forward ${step.forward} of those open: ${step.status} ${step.body}`;
    case "wait":
      return `wait ${step.ms} ms`;
  }
}

type Params = Record<string, string>;
interface Room {
  readonly channel: string;
  readonly params: Params;
}

const channels = ["chat", "chat", "chat", "news", "a/b", "é", ""];
// Some differ only in order; some look alike if nothing is escaped.
const paramSets: readonly Params[] = [
  {},
  { room: "1" },
  { room: "1" },
  { room: "2" },
  { a: "1", b: "2" },
  { b: "2", a: "1" },
  { a: "1,b:2" },
  { "": "" },
  { room: 'é\n"' },
  { "10": "x", "9": "y", z: "" },
  { half: "\ud800" },
];
const resources = ["todo/1", "todo/1", "todo/2", "a,b", "é\n", "", "chat/room:1", "half \udfff"];
const tokens = ["t1", "t2", "t3", "t4", "t5", "t6"];
const answers: readonly (readonly [status: number, body: string])[] = [
  [204, ""],
  [204, ""],
  [204, ""],
  [200, "OK"],
  [0, ""],
  [500, `{ "error": "broken" }`],
  [502, "<html>"],
  [404, ""],
  [400, `{ "fault": "client", "message": "you are muted" }`],
  [400, `{ "fault": "server", "message": "no \\"database\\"" }`],
  [400, `{ "fault": "nobody", "message": "?" }`],
  [503, `{ "message": "asleep", "fault": "sidekick" }`],
];

/** Just before a deadline, and just after: some steps come in between, one millisecond each. */
const waits = [1000, 29_990, 30_000, 59_990, 60_000, 299_990, 300_000];

/** ION that the reference accepts and we accept only in part: docs/ion.md. */
const looseValues = [
  "1.",
  "-",
  "1e",
  "date:1",
  "date:2026-02-29",
  '"\\uZZZZ"',
  "[".repeat(256) + "]".repeat(256),
  "1.5",
  "date:2024-02-29",
];

/**
 * Members that mean something only to a client that said hello (docs/protocol.md); the reference
 * ignores them as it does "more".
 */
const strangeMembers: readonly object[] = [
  { more: null },
  { id: 1 },
  { id: "one" },
  { since: 1, epoch: "e" },
  { since: -1 },
  { id: 2, again: true },
  { at: 1, recovered: true, missed: 3 },
];

/**
 * The frequency of each kind of step; drawn for each conversation, so that some have much of one
 * kind and none of another.
 */
type Kind =
  | "subscribe"
  | "unsubscribe"
  | "send"
  | "listen"
  | "unlisten"
  | "odd"
  | "open"
  | "close"
  | "register"
  | "publish"
  | "update"
  | "answer"
  | "wait";
type Weights = Record<Kind, number>;

export function generate(seed: number): Step[] {
  return new Generator(seed).conversation();
}

class Generator {
  readonly #random: Random;
  readonly #weights: Weights;
  /** Few rooms, so that tokens and clients meet in them. */
  readonly #usualRooms: readonly Room[];
  readonly #rooms = new Map<string, Room>();
  readonly #users = new Map<string, number>();
  #clients: number[] = [];
  #nextClient = 1;

  constructor(seed: number) {
    this.#random = new Random(seed);
    // Mulberry's first numbers for neighboring seeds are far apart; each weight is often 0.
    const weight = (usual: number): number =>
      this.#random.pick([0, usual, usual, usual, 3 * usual]);
    this.#weights = {
      subscribe: weight(8),
      unsubscribe: weight(3),
      send: weight(8),
      listen: weight(4),
      unlisten: weight(2),
      odd: weight(3),
      open: weight(1),
      close: weight(1),
      register: weight(6),
      publish: weight(6),
      update: weight(4),
      answer: weight(6),
      wait: weight(1),
    };
    this.#usualRooms = Array.from({ length: this.#random.pick([1, 1, 2, 5]) }, () =>
      this.#anyRoom(),
    );
  }

  conversation(): Step[] {
    const steps: Step[] = [this.#open(), this.#open(), this.#register()];
    const length = this.#random.pick([10, 30, 60, 60, 150]);
    while (steps.length < length) steps.push(this.#step());
    return steps;
  }

  #step(): Step {
    const random = this.#random;
    switch (this.#kind()) {
      case "open":
        return this.#open();
      case "close":
        return this.#close();
      case "register":
        return this.#register();
      case "publish": {
        const room = random.onceIn(3)
          ? this.#room()
          : (this.#rooms.get(this.#registered()) ?? this.#room());
        return {
          do: "post",
          path: "/message",
          body: this.#spoilt(
            this.#written({
              ...room,
              ...this.#data("data"),
              ...this.#extra({ type: "updated", at: 1 }),
            }),
          ),
        };
      }
      case "update":
        return {
          do: "post",
          path: "/resources",
          body: this.#spoilt(
            this.#written({ resources: this.#resources(), ...this.#extra({ at: new Date(0) }) }),
          ),
        };
      case "answer": {
        const [status, body] = random.pick(answers);
        return { do: "answer", forward: random.below(4), status, body };
      }
      case "wait":
        return { do: "wait", ms: random.pick(waits) };
      case "subscribe":
        return this.#use({ type: "subscribe", token: this.#registered() });
      case "unsubscribe":
        return this.#use({ type: "unsubscribe", token: this.#registered() });
      case "send": {
        const token = this.#registered();
        const own = this.#rooms.get(token);
        const room = own === undefined || random.onceIn(6) ? this.#room() : own;
        return this.#use({ type: "send", token, ...room, ...this.#data("data") });
      }
      case "listen":
        return this.#frame({ type: "listen", resources: this.#resources() });
      case "unlisten":
        return this.#frame({ type: "unlisten", resources: this.#resources() });
      case "odd":
        return this.#odd();
    }
  }

  #kind(): Kind {
    const entries = Object.entries(this.#weights) as [Kind, number][];
    let at = this.#random.below(entries.reduce((sum, [, weight]) => sum + weight, 0) || 1);
    for (const [kind, weight] of entries) if ((at -= weight) < 0) return kind;
    return "publish";
  }

  #open(): Step {
    const client = this.#nextClient++;
    this.#clients.push(client);
    return { do: "open", client };
  }

  #close(): Step {
    const client = this.#client();
    this.#clients = this.#clients.filter((other) => other !== client);
    for (const [token, user] of this.#users) if (user === client) this.#users.delete(token);
    return { do: "close", client };
  }

  #register(): Step {
    const unused = tokens.filter((token) => !this.#users.has(token));
    const token =
      unused.length === 0 || this.#random.onceIn(4) ? this.#token() : this.#random.pick(unused);
    const room = this.#random.onceIn(3)
      ? (this.#rooms.get(this.#random.pick(tokens)) ?? this.#room())
      : this.#room();
    this.#rooms.set(token, room);
    return {
      do: "post",
      path: "/connection",
      body: this.#spoilt(this.#written({ token, ...room, ...this.#data("context") })),
    };
  }

  /** Mostly by the client that used the token before, so that conversations make progress. */
  #use(message: { readonly type: string; readonly token: string } & Partial<Room>): Step {
    const user = this.#users.get(message.token);
    const client =
      user === undefined || !this.#clients.includes(user) || this.#random.onceIn(4)
        ? this.#client()
        : user;
    if (message.type === "unsubscribe" && client === user) {
      this.#users.delete(message.token);
      this.#rooms.delete(message.token);
    } else {
      this.#users.set(message.token, client);
    }
    return this.#frame(message, client);
  }

  #frame(message: object, client = this.#client()): Step {
    return {
      do: "frame",
      client,
      text: this.#spoilt(
        this.#written({ ...message, ...this.#extra(this.#random.pick(strangeMembers)) }),
      ),
    };
  }

  /** Messages that no Covenant client sends. */
  #odd(): Step {
    const random = this.#random;
    const message: Record<string, unknown> = random.pick([
      { type: "send", token: this.#token(), ...this.#room(), data: 1 },
      { type: "subscribe", token: this.#token() },
      { type: "listen", resources: this.#resources() },
      { type: "ping" },
      { type: random.pick(["", "message", "publish", 1, null]), token: "t1", ...this.#room() },
    ]);
    const member =
      "params" in message && random.onceIn(3) ? "params" : random.pick(Object.keys(message));
    const wrong = random.pick([
      null,
      1,
      "",
      "x".repeat(1100),
      [],
      ["a"],
      [1],
      {},
      { a: 1 },
      new Map([["a", "b"]]),
      new Set(["a"]),
      new Date(0),
      "\ud800",
    ]);
    let text: string;
    switch (random.below(7)) {
      case 0:
        text = this.#written(
          Object.fromEntries(Object.entries(message).filter(([name]) => name !== member)),
        );
        break;
      case 1:
        text = this.#written({ ...message, [member]: wrong });
        break;
      case 2:
        text = asWePrint(ION.stringify(wrong));
        break;
      case 3:
        text = this.#written(message).replace(
          /^{/,
          () => `{ ${JSON.stringify(member)}: ${asWePrint(ION.stringify(message[member]))},`,
        );
        break;
      case 4:
        text = this.#written(message).replace(
          / ?}$/,
          () => `, "more": ${random.pick(looseValues)} }`,
        );
        break;
      default:
        text = this.#written(message);
    }
    return { do: "frame", client: this.#client(), text };
  }

  /**
   * Often as the npm client prints it, sometimes as JSON.stringify does, or with its members in
   * another order.
   */
  #written(value: Record<string, unknown>): string {
    const entries = Object.entries(value);
    if (this.#random.onceIn(4)) entries.reverse();
    const message = Object.fromEntries(entries);
    if (this.#random.onceIn(8)) return JSON.stringify(message);
    return asWePrint(ION.stringify(message));
  }

  #spoilt(text: string): string {
    if (!this.#random.onceIn(30)) return text;
    const bytes = Buffer.from(text);
    return mutate(this.#random, bytes, bytes).toString();
  }

  #extra(members: object): object {
    return this.#random.onceIn(12) ? members : {};
  }

  #data(name: string): object {
    return this.#random.onceIn(10)
      ? {}
      : { [name]: generateValue(this.#random, this.#random.below(4)) };
  }

  #client(): number {
    return this.#clients.length === 0 ? 1 : this.#random.pick(this.#clients);
  }

  #token(): string {
    if (this.#random.onceIn(40))
      return this.#random.pick(["nobody's", "", "t\ud800", "t".repeat(256), "t".repeat(257)]);
    // The first token is used as often as all others together: problems show when much happens to
    // one token.
    return this.#random.onceIn(2) ? "t1" : this.#random.pick(tokens);
  }

  /** Mostly a token that is probably registered; otherwise nearly all would be rejected. */
  #registered(): string {
    return this.#rooms.size === 0 || this.#random.onceIn(8)
      ? this.#token()
      : this.#random.pick([...this.#rooms.keys()]);
  }

  #room(): Room {
    return this.#random.onceIn(5) ? this.#anyRoom() : this.#random.pick(this.#usualRooms);
  }

  #anyRoom(): Room {
    if (this.#random.onceIn(60)) {
      const upTo = (letter: string, bytesMax: number): string =>
        letter.repeat(bytesMax + this.#random.below(2));
      return { channel: upTo("c", 256), params: { [upTo("n", 256)]: upTo("v", 1024) } };
    }
    return {
      channel: this.#random.pick(channels),
      params: this.#random.onceIn(2) ? { room: "1" } : this.#random.pick(paramSets),
    };
  }

  #resources(): string[] {
    const names = Array.from({ length: this.#random.pick([0, 1, 1, 2, 4]) }, () =>
      this.#random.pick(resources),
    );
    return this.#random.onceIn(40) ? [...names, "r".repeat(1024 + this.#random.below(2))] : names;
  }
}
