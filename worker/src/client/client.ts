// Assembles the parts, and passes the calls of the app and the frames of the socket on to them.
import ION from "@covenant-rpc/ion";
import { Channels } from "./channels.js";
import { Connection } from "./connection.js";
import { HubClock } from "./hub-clock.js";
import { settingsOf, socketUrl } from "./options.js";
import type { Parts } from "./parts.js";
import { Queries } from "./queries.js";
import { Refetches } from "./refetch.js";
import type { Item } from "./registers.js";
import { Resources } from "./registers.js";
import { Requests } from "./requests.js";
import { Sends } from "./sends.js";
import type {
  Anything,
  ClientMessage,
  Events,
  Frame,
  HandlerMessage,
  Params,
  Sidekick,
  SidekickOptions,
  State,
} from "./types.js";

/** The events, and the messages for handlers of `onMessage`. */
interface AllEvents extends Events {
  message: HandlerMessage;
}
type Handler = (message: HandlerMessage) => unknown;
type Listener = (value: Anything) => unknown;

export class Client extends Connection implements Parts, Sidekick {
  readonly hub = new HubClock();
  readonly server: Queries | undefined;
  readonly requests: Requests = new Requests(this);
  readonly resources: Resources = new Resources(this);
  readonly channels: Channels = new Channels(this);
  readonly sends: Sends = new Sends(this);
  readonly refetches: Refetches = new Refetches(this);
  readonly #listeners = new Set<readonly [event: keyof AllEvents, listener: Listener]>();

  constructor(url: string, options: SidekickOptions) {
    const settings = settingsOf(options);
    super(socketUrl(url), settings);
    this.server = options.server && new Queries(options.server, settings.refetchMs);
  }

  // --- for the app, with `state`, `connect`, `disconnect` and `wake` (types.ts)

  sendMessage(message: ClientMessage): void {
    if (message.type === "send") return this.sends.sendForNpm(message);
    if (!this.isPossible) return;
    if (message.type === "unsubscribe") return this.channels.unsubscribe(message.token);
    if (message.type === "unlisten") return this.resources.unlisten(message.resources);
    if (message.type === "subscribe") this.channels.subscribe(message.token);
    else this.resources.listen(message.resources);
    this.connect();
  }

  onMessage(handler: Handler): () => void {
    return this.on("message", handler);
  }

  async send(channel: string, params: Params, token: string, data: unknown): Promise<void> {
    return this.sends.send({ type: "send", token, channel, params, data });
  }

  on<E extends keyof AllEvents>(event: E, listener: (value: AllEvents[E]) => unknown): () => void {
    const entry = [event, listener] as const;
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  // --- for the parts (parts.ts)

  emit(message: HandlerMessage): Promise<unknown> {
    return Promise.all(
      this.#listening("message").map(async (handler) => {
        try {
          await handler(message);
        } catch (error) {
          this.tell("problem", { message: `a handler failed: ${error}`, error });
        }
      }),
    );
  }

  tell<E extends keyof Events>(event: E, value: Events[E]): void {
    for (const listener of this.#listening(event)) {
      // An earlier listener has changed the state again, and all listeners got the newer one.
      if (event === "state" && value !== this.state) return;
      // Async: what it throws is left unhandled, so that its author sees it. Thrown here, it would
      // leave a change half done.
      void (async () => listener(value))();
    }
  }

  complain({ code, error }: Frame): void {
    this.tell("problem", { message: error!.message, code });
  }

  // --- for the connection (connection.ts)

  greet(): void {
    this.requests.hello(({ welcome, code, error }) => {
      // It knows hello, but not yet the position: its engine is away.
      if (code) return this.retry(error!.message);
      this.requests.isCapable = !!welcome;
      if (welcome && this.hub.onWelcome(welcome)) for (const item of this.#items()) item.at = 0;
      this.accept(!welcome);
    });
  }

  receive(data: unknown): void {
    try {
      this.#receive(ION.parse(data as string) as Frame);
    } catch (error) {
      this.tell("problem", { message: `not a message from a Sidekick: ${data}`, error });
    }
  }

  #receive(frame: Frame): void {
    if (frame.type === "message") return this.channels.onMessage(frame);
    if (frame.type === "updated") return this.resources.onUpdated(frame.resource);
    if (frame.at) this.hub.onStamp(frame.at);
    if (frame.type === "pong") return this.#onPong(frame.at);
    if (this.sends.answer(frame) || this.requests.answer(frame)) return;
    const { error } = frame;
    if (frame.code === "token" || frame.recovered === false) this.channels.onLoss(frame);
    if (!error) return;
    this.complain(frame);
    // Without ids, an error that names a channel is that of a send.
    if (!this.requests.isCapable) void this.emit({ type: "error", error });
  }

  onState(state: State): void {
    if (state.name === "closed") this.sends.fail(state.reason!, undefined, "closed");
    if (state.name === "live") {
      if (state.legacy) this.sends.fail("this Sidekick sends no acks");
      this.channels.resume();
      this.resources.resume();
      this.sends.flush();
    }
    this.tell("state", state);
  }

  onAbandon(code: number): void {
    this.requests.onAbandon();
    for (const item of this.#items()) item.due = undefined;
    this.sends.onAbandon(code);
  }

  onSeen(): void {
    this.refetches.flush();
  }

  /** It proves that every live item has everything up to a position. */
  #onPong(at: number | undefined): void {
    const position = this.hub.onPong(at);
    for (const item of this.#items()) if (item.due === 0) item.at = Math.max(item.at, position);
  }

  #listening(event: keyof AllEvents): Listener[] {
    return [...this.#listeners].filter(([name]) => name === event).map(([, listener]) => listener);
  }

  #items(): Item[] {
    return [...this.resources.items.values(), ...this.channels.items.values()];
  }
}
