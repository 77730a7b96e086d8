// The public types, and the frames on the wire. Those of Covenant are repeated structurally, as in
// testing/index.ts, so that the package does not depend on `@covenant-rpc/core`.

export type Params = Record<string, string>;
type Fault = "client" | "server" | "sidekick";
// biome-ignore lint/suspicious/noExplicitAny: as in `@covenant-rpc/core`: handlers name types.
export type Anything = any;

export interface ChannelError {
  readonly channel: string;
  readonly params: Params;
  readonly fault: Fault;
  readonly message: string;
}

export interface ConnectionRequest {
  channel: string;
  params: Params;
  data?: unknown;
}

export interface ConnectionResponse {
  channel: string;
  params: Params;
  result: { type: "OK"; token: string } | { type: "ERROR"; error: ChannelError };
}

export interface ProcedureRequest {
  procedure: string;
  inputs?: unknown;
}

export type ProcedureResponse =
  | { status: "OK"; data?: unknown; resources: string[] }
  | { status: "ERR"; error: { message: string; code: number } };

/** Equals `ClientToServerConnection` of `@covenant-rpc/core`. */
export interface ServerConnection {
  sendConnectionRequest(request: Anything): Promise<ConnectionResponse>;
  runProcedure(request: Anything): Promise<Anything>;
}

/** The part of a WebSocket that is used: a browser's, or that of the package `ws`. */
export interface Socket {
  onopen: Anything;
  onmessage: Anything;
  onclose: Anything;
  onerror: Anything;
  send(text: string): void;
  close(code?: number): void;
}

export interface Settings {
  /** Silence before a ping (25,000). */
  pingMs: number;
  /** The wait for an answer to it (10,000). */
  pongMs: number;
  /** The same where the socket is suspect: the page was hidden, the network changed (4,000). */
  probeMs: number;
  /** Limits the time until the socket is open and the Sidekick has answered (10,000). */
  openMs: number;
  /** So long a connection must live for the next retry to be early again (10,000). */
  stableMs: number;
  /** Retries wait random(0, min(capMs, baseMs x 2^attempt)) (1,000). */
  baseMs: number;
  /** (30,000) */
  capMs: number;
  /** Assumed age of a query whose begin is not known: without `server` (15,000). */
  queryMs: number;
  /** The longest wait for one run of a query before the next one starts (30,000). */
  refetchMs: number;
  /** A hidden page spreads its refetches after a reconnect over this time (60,000). */
  hiddenMs: number;
  /** Messages that are not settled, written or not (100). */
  sendMax: number;
  /** Their bytes (262,144). */
  sendBytesMax: number;
  /** A message that is not written within this time is rejected (30,000). */
  sendTtlMs: number;
}

/** Names the token that was lost; channel and params are known if it was ever confirmed. */
export interface LostToken {
  readonly token: string;
  readonly channel?: string | undefined;
  readonly params?: Params | undefined;
}

export interface SidekickOptions extends Partial<Settings> {
  /** `httpClientToServer(...)`. Pass `sidekick.server` to CovenantClient in its place. */
  server?: ServerConnection;
  /** Default: the global one. */
  WebSocket?: new (
    url: string,
  ) => Anything;
  /** False where the page is rendered on a server (true). */
  enabled?: boolean;
  /** A new token in place of a lost one, or null to give the channel up. */
  onTokenLost?: (lost: LostToken) => Promise<string | null>;
}

export type StateName =
  | "idle"
  | "connecting"
  | "greeting"
  | "live"
  | "waiting"
  | "paused"
  | "closed";

/** A snapshot: each change is a new object. */
export interface State {
  readonly name: StateName;
  /** Why there is no connection. */
  readonly reason?: string;
  /** Of the WebSocket's close. */
  readonly code?: number;
  /** How many connections have failed in a row. */
  readonly attempt?: number;
  /** When the next one starts, by `Date.now()`. */
  readonly retryAt?: number;
  /** The Sidekick does not know this client's messages: every reconnect is a gap. */
  readonly legacy?: boolean;
}

export interface Gap {
  readonly channel: string;
  readonly params: Params;
  readonly token: string;
}

export interface Events {
  state: State;
  /** Messages of this channel were missed. Comes before the first message after the hole. */
  gap: Gap;
  /** The client no longer tries to subscribe to this channel. */
  channelLost: LostToken & { readonly error: ChannelError };
  /** A message of the npm method `send` was not processed, or may not have been. */
  sendFailed: { readonly message: SendMessage; readonly error: Error };
  problem: {
    readonly message: string;
    readonly code?: string | undefined;
    readonly error?: unknown;
  };
}

export interface SendMessage {
  type: "send";
  token: string;
  channel: string;
  params: Params;
  data?: unknown;
}

/** What a CovenantClient sends. */
export type ClientMessage =
  | SendMessage
  | { type: "subscribe"; token: string }
  | { type: "unsubscribe"; token: string }
  | { type: "listen"; resources: string[] }
  | { type: "unlisten"; resources: string[] };

/** What the handlers of `onMessage` get. */
export type HandlerMessage =
  | { type: "message"; channel: string; params: Params; data: unknown }
  | { type: "updated"; resource: string }
  | { type: "subscribed"; channel: string; params: Params }
  | { type: "error"; error: ChannelError };

export interface Welcome {
  readonly epoch: string;
  readonly at: number;
  readonly spread_ms: number;
  readonly frame_bytes_max: number;
  /** False: a pong without `at` says nothing about what was delivered before it. */
  readonly pong_at?: boolean;
}

/** A frame from the Sidekick, as it came: every member may be missing. */
export interface Frame {
  readonly type?: string;
  readonly id?: number;
  readonly at?: number;
  readonly code?: string;
  readonly error?: ChannelError;
  readonly channel?: string;
  readonly params?: Params;
  readonly data?: unknown;
  readonly resource?: string;
  readonly recovered?: boolean;
  readonly changed?: readonly string[];
  readonly missed?: number;
  readonly welcome?: Welcome;
}

/** Implements `ClientToSidekickConnection` of `@covenant-rpc/core`. */
export interface Sidekick<Server = unknown> {
  /** For `serverConnection` of CovenantClient. Undefined without the option `server`. */
  readonly server: Server;
  /** For `useSyncExternalStore`: each change is a new object. */
  readonly state: State;
  /**
   * For CovenantClient.
   * @throws SendError if a message of type `send` is refused at once
   */
  sendMessage(message: Anything): void;
  /** The handler gets `message`, `updated`, `subscribed` and `error`. */
  onMessage(handler: (message: Anything) => Anything): () => void;
  /** Opens the socket now. Without this call, the first message does. */
  connect(): void;
  /** Closes the socket. Subscriptions stay, and the next message opens it again. */
  disconnect(): void;
  /** The app came to the front, or the network is back: React Native tells nobody else. */
  wake(): void;
  /**
   * Resolves once the app server has accepted the message.
   * @throws SendError (rejects) with `isUncertain` if the app server may have got it, at most once;
   *   otherwise it did not accept it
   */
  send(channel: string, params: Params, token: string, data: unknown): Promise<void>;
  /** @returns a function that removes the listener */
  on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void;
}
