// A connection to Sidekick for Covenant clients, which opens its socket again for as long as it is
// wanted, and tells the app what it missed. docs/client.md says what it guarantees.
//
//     const sidekick = connectSidekick("https://sidekick.example.com", { server });
//     const connections = { serverConnection: sidekick.server, sidekickConnection: sidekick };
//     const client = withAcks(new CovenantClient(covenant, connections), sidekick);
import { Client } from "./client.js";
import type {
  Anything,
  ClientMessage,
  Events,
  Params,
  ServerConnection,
  SidekickOptions,
  State,
} from "./types.js";

export { SendError } from "./sends.js";
export type {
  ChannelError,
  Events,
  Gap,
  LostToken,
  ServerConnection,
  SidekickOptions,
  State,
  StateName,
} from "./types.js";

/** Implements `ClientToSidekickConnection` of `@covenant-rpc/core`. */
export class Sidekick<Server extends ServerConnection | undefined = ServerConnection | undefined> {
  /** For `serverConnection` of CovenantClient. Undefined without the option `server`. */
  readonly server: Server;
  readonly #client: Client;

  constructor(url: string, options: SidekickOptions & { server?: Server }) {
    this.#client = new Client(url, options);
    this.server = this.#client.queries as unknown as Server;
  }

  /** An immutable snapshot, as `useSyncExternalStore` wants it. */
  get state(): State {
    return this.#client.connection.state;
  }

  /**
   * For CovenantClient.
   * @throws SendError if a message of type `send` is refused at once
   */
  sendMessage(message: Anything): void {
    this.#client.send(message as ClientMessage);
  }

  /** The handler gets `message`, `updated`, `subscribed` and `error`. */
  onMessage(handler: (message: Anything) => Anything): () => void {
    this.#client.handlers.add(handler);
    return () => void this.#client.handlers.delete(handler);
  }

  /** Opens the socket now. Without this call, the first message does. */
  connect(): void {
    this.#client.connection.connect();
  }

  /** Closes the socket. Subscriptions stay, and the next message opens it again. */
  disconnect(): void {
    this.#client.connection.disconnect();
  }

  /** The app came to the front, or the network is back: React Native tells nobody else. */
  wake(): void {
    this.#client.connection.wake();
  }

  /**
   * Resolves once the app server has accepted the message.
   * @throws SendError (rejects) with `isUncertain` if the app server may have got it, at most once;
   *   otherwise it did not accept it
   */
  send(channel: string, params: Params, token: string, data: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.sends.send({ type: "send", token, channel, params, data }, (error) =>
        error === undefined ? resolve() : reject(error),
      );
    });
  }

  /** @returns a function that removes the listener */
  on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void {
    const { listeners } = this.#client;
    const all = listeners.get(event) ?? new Set();
    listeners.set(event, all.add(listener));
    return () => void all.delete(listener);
  }
}

/**
 * @param url of the Sidekick: http(s) or ws(s), with its path
 * @param options `server` orders the queries that updates cause, and gets lost tokens anew
 */
export function connectSidekick<Server extends ServerConnection | undefined = undefined>(
  url: string,
  options: SidekickOptions & { server?: Server } = {},
): Sidekick<Server> {
  return new Sidekick(url, options);
}

/** connectSidekick under the name that it has in `@covenant-rpc/client`. */
export const httpClientToSidekick = connectSidekick;

/** Makes the promise of `client.send` true: Covenant's own resolves after 100 ms in any case. */
export function withAcks<C extends { send: Anything }>(client: C, sidekick: Sidekick): C {
  client.send = sidekick.send.bind(sidekick);
  return client;
}
