// The reference's side: npm's `Sidekick` and `httpSidekickToServer`, in a host that handles frames
// and bodies as npm's own webserver does (webserver.test.ts compares it with that webserver), with
// the allowed differences corrected at its edges. All deciding state is the reference's own. This
// file adds only what the reference forgets: who holds a token, since when, and its queue.
import { STATUS_CODES } from "node:http";

import { channelConnectionPayload, serverMessageSchema } from "@covenant-rpc/core/channel";
import { sidekickIncomingMessageSchema } from "@covenant-rpc/core/sidekick/protocol";
import { v } from "@covenant-rpc/core/validation";
import ION from "@covenant-rpc/ion";
import { httpSidekickToServer } from "@covenant-rpc/server/interfaces/http";
import { Sidekick } from "@covenant-rpc/server/sidekick/index";

import { asWePrint } from "../ion/differences.ts";
import type { Difference } from "./differences.ts";
import { NUMBERS } from "./numbers.ts";
import {
  hasTwice,
  ionOf,
  isIonToUs,
  isTooLong,
  type Message,
  type Room,
  scopeOf,
  sidekickTopic,
} from "./reading.ts";
import type { Step } from "./script.ts";
import { readable, Seen } from "./seen.ts";

interface Token {
  readonly payload: Room & { readonly token: string; readonly context?: unknown };
  readonly queue: Queue;
  holder?: Client | undefined;
  freeUntil: number;
}

interface Queue {
  inFlight: number;
  readonly waiting: (() => void)[];
}

interface Flight {
  readonly resolve: (answer: { ok: boolean; status: number; statusText: string }) => void;
  readonly reject: (error: Error) => void;
  deadline: number;
  body?: string;
}

interface Client {
  readonly number: number;
  /** Per topic the tokens subscribed to it; "" stands for a resource. */
  readonly topics: Map<string, Set<string>>;
}

interface Told extends Partial<Room> {
  readonly type: string;
  readonly error?: ChannelError;
}

interface ChannelError extends Room {
  readonly fault: "client" | "server" | "sidekick";
  readonly message: string;
}

/** The members of the reference's state that are corrected. */
interface State {
  readonly contextMap: Map<string, unknown>;
  readonly tokenMap: Map<string, unknown>;
  readonly usedTokenMap: Map<string, { id: string }>;
}

const wordings: readonly (readonly [RegExp, string])[] = [
  [/^Failed to parse last message as an incoming message/, "<malformed>"],
  [
    /^(Inputted invalid token for (un)?subscription|Invalid or unauthorized token)$/,
    "<invalid token>",
  ],
  [/^Token channel mismatch$/, "<other channel>"],
  [/^Failed to send message to server\. Received: /, "<server failed>"],
];

const timedOut = new Error("timed out");
const nobodysToken = "\0nobody's";
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Reference {
  /** Counts how often each difference occurred, allowed or not. */
  readonly met = new Map<Difference, number>();
  readonly #allowed: ReadonlySet<Difference>;
  readonly #sidekick: Sidekick;
  readonly #state: State;
  readonly #appServer = httpSidekickToServer("http://app.test/", "key");
  readonly #clients = new Map<number, Client>();
  readonly #tokens = new Map<string, Token>();
  readonly #open: Flight[] = [];
  #now = 1_700_000_000_000;
  #seen = new Seen();
  /** The token and the room that the reference is working on: its callbacks do not say. */
  #token: Token | undefined;
  #room: Room | undefined;

  constructor(allowed: Iterable<Difference>) {
    this.#allowed = new Set(allowed);
    const toAppServer = { sendMessage: (message: object) => this.#send(message as Message & Room) };
    this.#sidekick = new Sidekick(
      async (topic, message) => this.#publish(topic, message as Told),
      toAppServer as never,
      "slient" as never,
    ); // as spelled
    this.#state = (this.#sidekick as unknown as { state: State }).state;
  }

  async play(step: Step): Promise<string> {
    this.#seen = new Seen();
    this.#now += step.do === "wait" ? step.ms + 1 : 1;
    if (step.do === "close") this.#close(step.client);
    await this.#expire();
    if (step.do === "open")
      this.#clients.set(step.client, { number: step.client, topics: new Map() });
    if (step.do === "frame") this.#frame(this.#clients.get(step.client), step.text);
    if (step.do === "post") this.#seen.to("response", String(this.#post(step.path, step.body)));
    if (step.do === "answer") this.#answer(step.forward, step.status, step.body);
    await settled();
    return this.#seen.text();
  }

  /** Whether a difference applies here and is allowed: then the reference is corrected. */
  #as(difference: Difference, isAtWork: boolean): boolean {
    if (!isAtWork) return false;
    this.met.set(difference, (this.met.get(difference) ?? 0) + 1);
    return this.#allowed.has(difference);
  }

  // Input: what the reference's webserver does with a frame or a body.

  /** undefined: unreadable. */
  #parsed(text: string): unknown {
    const read = ionOf(text);
    return "error" in read || this.#as("strictIon", !isIonToUs(text)) ? undefined : read.value;
  }

  /** Returns whether we reject a message that the reference accepts. */
  #isRefused(text: string, message: Message): boolean {
    const { token, params } = message;
    if (
      this.#as("tokenText", token !== undefined && (token === "" || /\p{Surrogate}/u.test(token)))
    )
      return true;
    if (params !== undefined) {
      if (this.#as("paramsAreAnObject", Object.getPrototypeOf(params) !== Object.prototype))
        return true;
      if (this.#as("memberOnce", hasTwice(text).param)) return true;
    }
    return this.#as("limits", isTooLong(message));
  }

  #frame(client: Client | undefined, text: string): void {
    if (client === undefined) return;
    let parsed = this.#parsed(text);
    if (parsed !== undefined && this.#as("memberOnce", hasTwice(text).member)) parsed = undefined;
    if ((parsed as Message | null | undefined)?.type === "ping" && this.#as("ping", true))
      return this.#tell(client, { type: "pong" });
    const message = v.parseSafe(parsed as Message, sidekickIncomingMessageSchema) as Message | null;
    if (message === null) return this.#refuse(client, parsed, text);
    // Members that a kind of message does not need are not checked.
    const needed: Message =
      message.type === "send"
        ? message
        : message.type === "listen" || message.type === "unlisten"
          ? { type: message.type, resources: message.resources! }
          : { type: message.type!, token: message.token! };
    if (this.#isRefused(text, needed)) return this.#refuse(client, parsed, text);
    this.#message(client, needed);
  }

  #refuse(client: Client, parsed: unknown, text: string): void {
    const message =
      "Failed to parse last message as an incoming message. This is a bug in covenant's " +
      "client code.";
    const error: ChannelError = { fault: "client", message, params: {}, channel: "unknown" };
    const scope = scopeOf(parsed, text);
    const isNamed = scope.channel !== "unknown" || Object.keys(scope.params).length > 0;
    this.#tell(client, {
      type: "error",
      error: this.#as("namesChannel", isNamed) ? { ...error, ...scope } : error,
    });
  }

  #post(path: string, text: string): number {
    if (path === "/resources") return this.#postResources(text);
    const parsed = this.#parsed(text);
    const schema = path === "/connection" ? channelConnectionPayload : serverMessageSchema;
    const body =
      parsed === undefined
        ? null
        : (v.parseSafe(parsed as Message, schema as typeof channelConnectionPayload) as
            | (Message & Room)
            | null);
    if (body === null || this.#as("memberOnce", hasTwice(text).member)) return 400;
    const { channel, params, token, data } = body;
    if (path === "/connection") {
      if (this.#isRefused(text, { token: token!, channel, params })) return 400;
      return this.#connection(body as Token["payload"]);
    }
    if (this.#isRefused(text, { channel, params })) return 400;
    const hasOthers = Object.keys(body).some(
      (name) => !["channel", "params", "data"].includes(name),
    );
    this.#room = { channel, params };
    void this.#sidekick.postServerMessage(
      this.#as("ownMembers", hasOthers)
        ? ({ channel, params, ...("data" in body && { data }) } as never)
        : (body as never),
    );
    return 200;
  }

  #postResources(text: string): number {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    const read = ionOf(text);
    const ion = "error" in read ? undefined : read.value;
    if (this.#as("resourcesIon", (json === undefined) !== (ion === undefined))) json = ion;
    if (json === undefined || this.#as("strictIon", !isIonToUs(text))) return 400;
    const body = v.parseSafe(
      json as { resources: string[] },
      v.obj({ resources: v.array(v.string()) }) as never,
    ) as { resources: string[] } | null;
    if (body === null || this.#as("memberOnce", hasTwice(text).member)) return 400;
    if (this.#isRefused(text, { resources: body.resources })) return 400;
    const once = [...new Set(body.resources)];
    void this.#sidekick.updateResources(
      this.#as("updatedOnce", once.length < body.resources.length) ? once : body.resources,
    );
    return 200;
  }

  // Tokens.

  #connection(payload: Token["payload"]): number {
    const existing = this.#tokens.get(payload.token);
    if (existing !== undefined && this.#as("heldStays", existing.holder !== undefined)) return 409;
    this.#sidekick.addConnection(payload as never);
    const queue = existing?.queue ?? { inFlight: 0, waiting: [] };
    this.#tokens.set(payload.token, {
      payload,
      queue,
      freeUntil: this.#now + NUMBERS.token_ttl_ms,
    });
    return 200;
  }

  #message(client: Client, message: Message): void {
    const token = message.token === undefined ? undefined : this.#tokens.get(message.token);
    if (token === undefined) return this.#hand(client, message);
    const isUnused = this.#state.tokenMap.has(message.token!);
    const isUsedHere = this.#state.usedTokenMap.get(message.token!)?.id === idOf(client);
    if (isUnused && message.type !== "unsubscribe") {
      if (this.#as("sendTakes", token.holder !== undefined && token.holder !== client))
        return this.#hand(client, { ...message, token: nobodysToken });
    }
    const { channel, params } = token.payload;
    if (message.type === "send")
      return this.#sendMessage(client, message as Message & Room, token, isUnused, isUsedHere);
    if (message.type === "subscribe") {
      if (this.#as("subscribeAgain", isUsedHere))
        return this.#tell(client, { type: "subscribed", channel, params });
      this.#hand(client, message, token);
      if (isUnused) token.holder = client;
      return;
    }
    if (
      this.#as(
        "unsubscribeUnused",
        isUnused && (token.holder === undefined || token.holder === client),
      )
    ) {
      this.#state.tokenMap.delete(message.token!);
      this.#tell(client, { type: "unsubscribed", channel, params });
    } else {
      this.#hand(client, message, token);
      if (!isUsedHere) return;
    }
    this.#tokens.delete(message.token!);
  }

  #sendMessage(
    client: Client,
    message: Message & Room,
    token: Token,
    isUnused: boolean,
    isUsedHere: boolean,
  ): void {
    const { channel, params } = message;
    if (!isUnused && !isUsedHere) return this.#hand(client, message);
    const isElsewhere = sidekickTopic(message) !== sidekickTopic(token.payload);
    const isSeenByReference = isUnused && channel !== token.payload.channel;
    if (this.#as("scope", isElsewhere && !isSeenByReference)) {
      return this.#tell(client, {
        type: "error",
        error: { channel, params, fault: "client", message: "<other channel>" },
      });
    }
    if (!isSeenByReference) {
      token.holder = client;
      if (!isUnused) {
        const { channel, params } = token.payload;
        const key = `${idOf(client)}@channel:${channel}/${Object.keys(params)
          .map((name) => `${name}:${params[name]}`)
          .join(",")}`;
        const { context } = token.payload;
        if (this.#as("ownContext", this.#state.contextMap.get(key) !== context))
          this.#state.contextMap.set(key, context);
      }
    }
    this.#hand(client, message, token);
  }

  #close(number: number): void {
    const client = this.#clients.get(number);
    this.#clients.delete(number);
    if (client === undefined) return;
    for (const [key, token] of this.#tokens) {
      if (token.holder !== client) continue;
      const isUsed = this.#state.usedTokenMap.has(key);
      if (isUsed && !this.#as("tokenResume", true)) continue;
      if (isUsed) {
        this.#state.usedTokenMap.delete(key);
        this.#state.tokenMap.set(key, token.payload);
      }
      token.holder = undefined;
      token.freeUntil = this.#now + NUMBERS.token_resume_ms;
    }
  }

  // The reference at work, and its callbacks.

  #hand(client: Client, message: Message, token?: Token): void {
    this.#token = token;
    this.#room = token?.payload;
    const itself = {
      getId: () => idOf(client),
      directMessage: (answer: Told) => this.#tell(client, answer),
      subscribe: (topic: string) => this.#subscribe(client, topic),
      unsubscribe: (topic: string) => this.#unsubscribe(client, topic),
    };
    this.#sidekick
      .handleClientMessage(itself as never, message as never)
      .catch((error: unknown) => this.#seen.to("process", `ends: ${String(error)}`));
  }

  #topic(topic: string): string {
    if (topic.startsWith("resource:")) return topic;
    const ours = sidekickTopic(this.#room!);
    return this.#as("topicNames", ours !== topic) ? ours : topic;
  }

  #subscribe(client: Client, given: string): void {
    const topic = this.#topic(given);
    const key = given.startsWith("resource:") ? "" : this.#token!.payload.token;
    client.topics.set(topic, (client.topics.get(topic) ?? new Set()).add(key));
  }

  #unsubscribe(client: Client, given: string): void {
    const topic = this.#topic(given);
    const tokens = client.topics.get(topic);
    if (!given.startsWith("resource:") && tokens !== undefined) {
      tokens.delete(this.#token!.payload.token);
      if (this.#as("lastTokenEnds", tokens.size > 0)) return;
    }
    client.topics.delete(topic);
  }

  #publish(given: string, message: Told): void {
    const topic = this.#topic(given);
    for (const client of this.#clients.values())
      if (client.topics.has(topic)) this.#tell(client, message);
  }

  #tell(client: Client, message: Told): void {
    if (this.#clients.get(client.number) !== client) return;
    const told = this.#as("unknownChannel", message.error?.channel === "???unknown")
      ? { ...message, error: { ...message.error, channel: "unknown" } }
      : message;
    this.#seen.to(
      `client ${client.number}`,
      readable(this.#written(told), (text) => this.#worded(text)),
    );
  }

  #written(value: object): Buffer {
    return Buffer.from(this.#passed(ION.stringify(value)));
  }

  #passed(text: string): string {
    const ours = asWePrint(text);
    return this.#as("byteForByte", ours !== text) ? ours : text;
  }

  #worded(text: string): string {
    const wording = wordings.find(([pattern]) => pattern.test(text));
    return wording !== undefined && this.#as("wording", true) ? wording[1] : text;
  }

  // The app server.

  async #send(message: Message & Room): Promise<ChannelError | null> {
    const { queue } = this.#token!;
    if (this.#as("oneInFlight", queue.inFlight > 0))
      await new Promise<void>((go) => queue.waiting.push(go));
    else ++queue.inFlight;
    try {
      return await this.#exchange(message);
    } finally {
      const next = queue.waiting.shift();
      if (next !== undefined) next();
      else --queue.inFlight;
    }
  }

  async #exchange(message: Message & Room): Promise<ChannelError | null> {
    const { channel, params } = message;
    const exchange = this.#fetching(() => this.#appServer.sendMessage(message as never));
    const flight = this.#open.at(-1)!;
    let result: ChannelError | null;
    try {
      result = (await exchange) as ChannelError | null;
    } catch (error) {
      if (error === timedOut) return { channel, params, fault: "server", message: "<timed out>" };
      if (this.#as("unreachable", true))
        return { channel, params, fault: "server", message: "<server failed>" };
      throw error;
    }
    const own = result === null ? undefined : ownWords(flight.body!);
    return own !== undefined && this.#as("ownWords", true) ? { channel, params, ...own } : result;
  }

  /** The reference calls the global fetch as soon as it is told to send; it has no other output. */
  #fetching<T>(body: () => T): T {
    const real = globalThis.fetch;
    globalThis.fetch = ((_url: string, init: { body: string }) =>
      this.#fetched(init.body)) as unknown as typeof fetch;
    try {
      return body();
    } finally {
      globalThis.fetch = real;
    }
  }

  #fetched(body: string): Promise<unknown> {
    this.#seen.to("app server", readable(Buffer.from(this.#passed(body))));
    return new Promise((resolve, reject) =>
      this.#open.push({ resolve, reject, deadline: this.#now + NUMBERS.forward_timeout_ms }),
    );
  }

  #answer(forward: number, status: number, body: string): void {
    const [flight] = this.#open.splice(forward % (this.#open.length || 1), 1);
    if (flight === undefined) return;
    flight.body = body;
    if (status === 0) flight.reject(new TypeError("fetch failed"));
    else
      flight.resolve({
        ok: status >= 200 && status < 300,
        status,
        statusText: STATUS_CODES[status] ?? "",
      });
  }

  /** Everything due: forwards in the order in which they were sent, and free tokens. */
  async #expire(): Promise<void> {
    for (;;) {
      const due = this.#open.find((flight) => flight.deadline <= this.#now);
      if (due === undefined) break;
      due.deadline = Infinity;
      if (!this.#as("forwardTimeout", true)) continue;
      this.#open.splice(this.#open.indexOf(due), 1);
      due.reject(timedOut);
      await settled();
    }
    for (const [key, token] of this.#tokens) {
      if (token.holder !== undefined || token.freeUntil > this.#now) continue;
      token.freeUntil = Infinity;
      if (!this.#as("tokenExpiry", true)) continue;
      this.#state.tokenMap.delete(key);
      this.#tokens.delete(key);
    }
  }
}

function idOf(client: Client): string {
  return `client-${client.number}`;
}

function ownWords(body: string): { fault: ChannelError["fault"]; message: string } | undefined {
  const read = ionOf(body);
  if ("error" in read) return undefined;
  const { fault, message } = (read.value ?? {}) as Partial<ChannelError>;
  return (fault === "client" || fault === "server" || fault === "sidekick") &&
    typeof message === "string"
    ? { fault, message }
    : undefined;
}
