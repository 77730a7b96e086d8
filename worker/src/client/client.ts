// Assembles the parts, and routes what the app, the socket and the page say to them.
import ION from "@covenant-rpc/ion";
import { Channels } from "./channels.js";
import { Connection } from "./connection.js";
import { HubClock } from "./hub-clock.js";
import { DEFAULTS, socketUrl } from "./options.js";
import type { Parts } from "./parts.js";
import { Queries } from "./queries.js";
import { Refetches } from "./refetch.js";
import { Resources } from "./registers.js";
import { Requests } from "./requests.js";
import { Sends } from "./sends.js";
import type {
  ClientMessage,
  Events,
  Frame,
  HandlerMessage,
  Settings,
  SidekickOptions,
} from "./types.js";

type Handler = (message: HandlerMessage) => unknown;
type Listener = (value: never) => void;

export class Client implements Parts {
  readonly options: Settings & SidekickOptions;
  readonly hub = new HubClock();
  readonly connection: Connection;
  readonly requests: Requests;
  readonly resources: Resources;
  readonly channels: Channels;
  readonly sends: Sends;
  readonly queries: Queries | undefined;
  readonly refetches: Refetches;
  readonly handlers = new Set<Handler>();
  readonly listeners = new Map<keyof Events, Set<Listener>>();

  constructor(url: string, options: SidekickOptions) {
    this.options = { ...DEFAULTS, ...options };
    const { server, refetchMs } = this.options;
    this.queries = server && new Queries(server, refetchMs);
    this.requests = new Requests(this);
    this.resources = new Resources(this);
    this.channels = new Channels(this);
    this.sends = new Sends(this);
    this.refetches = new Refetches(this);
    this.connection = new Connection(socketUrl(url), this.options, this.hub, {
      greet: () => this.requests.hello((reply) => this.#onGreeting(reply)),
      receive: (data) => this.#receive(data),
      ping: () => this.requests.ping(),
      onAbandon: (code) => this.#onAbandon(code),
      onState: (state) => {
        if (state.name === "live") this.#resume();
        if (state.name === "closed") this.sends.onDisconnect();
        this.tell("state", state);
      },
      onSeen: () => this.refetches.flush(),
    });
  }

  send(message: ClientMessage): void {
    if (message.type === "send") return this.sends.sendForNpm(message);
    if (!this.connection.isPossible) return;
    if (message.type === "subscribe") this.channels.subscribe(message.token);
    else if (message.type === "unsubscribe") return this.channels.unsubscribe(message.token);
    else if (message.type === "listen") this.resources.listen(message.resources);
    else return this.resources.unlisten(message.resources);
    this.connection.connect();
  }

  readonly emit = async (message: HandlerMessage): Promise<void> => {
    const runs = [...this.handlers].map(async (handler) => {
      try {
        await handler(message);
      } catch (error) {
        this.tell("problem", { message: `a handler failed: ${error}`, error });
      }
    });
    await Promise.all(runs);
  };

  readonly tell = <E extends keyof Events>(event: E, value: Events[E]): void => {
    for (const listener of [...(this.listeners.get(event) ?? [])]) {
      try {
        listener(value as never);
      } catch (error) {
        // Its owner's, who must see it; here it would leave half of a change undone.
        void Promise.reject(error);
      }
    }
  };

  #onGreeting({ welcome }: Frame): void {
    this.requests.isCapable = welcome !== undefined;
    if (welcome !== undefined && this.hub.onWelcome(welcome)) {
      this.resources.reset();
      this.channels.reset();
    }
    this.connection.accept(welcome === undefined);
  }

  /** A token that is unsubscribed first is not subscribed again; sends wait for their channels. */
  #resume(): void {
    this.channels.resume();
    this.resources.resume();
    this.sends.resume();
  }

  #receive(data: unknown): void {
    const frame = parse(data);
    if (frame === undefined)
      return this.tell("problem", { message: `the Sidekick sent no message: ${data}` });
    if (frame.type === "message") return this.channels.onMessage(frame);
    if (frame.type === "updated") return this.resources.onUpdated(frame.resource);
    if (frame.at !== undefined) this.hub.onStamp(frame.at);
    if (frame.type === "pong" && this.requests.isCapable) return this.#onPong(frame.at);
    if (frame.type === "sent") return this.sends.onSent(frame);
    if (frame.type === "error" && this.sends.onError(frame)) return;
    if (!this.requests.answer(frame)) this.#onUnasked(frame);
  }

  #onPong(at: number | undefined): void {
    const position = this.hub.onPong(at);
    this.resources.advance(position);
    this.channels.advance(position);
  }

  #onUnasked(frame: Frame): void {
    if (frame.type === "subscribed" && frame.recovered === false) this.channels.onLoss(frame);
    if (frame.type !== "error") return;
    const { code, error } = frame;
    this.tell("problem", { message: error!.message, ...(code !== undefined && { code }) });
    if (code === "token") this.channels.onTokenDropped(error!);
    // Without ids, an error that names a channel is that of a send.
    if (!this.requests.isCapable && this.connection.isLive)
      void this.emit({ type: "error", error: error! });
  }

  #onAbandon(code: number): void {
    this.hub.onAbandon();
    this.requests.onAbandon();
    this.channels.onAbandon();
    this.resources.onAbandon();
    this.sends.onAbandon(code);
  }
}

function parse(data: unknown): Frame | undefined {
  try {
    const frame = ION.parse(data as string) as Frame;
    const isWhole = typeof frame.type === "string" && (frame.type !== "error" || !!frame.error);
    return isWhole ? frame : undefined;
  } catch {
    return undefined;
  }
}
