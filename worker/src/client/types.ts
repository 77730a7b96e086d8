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

/** Times are in milliseconds. Defaults are in parentheses. */
export interface Settings {
  /** The time between pings (25,000). */
  pingMs: number;
  /** Time allowed for any frame to arrive after a ping (10,000). */
  pongMs: number;
  /** The same for a suspect socket: page seen again, network changed, send unanswered (4,000). */
  probeMs: number;
  /** Time allowed to open the socket and to get Sidekick's first answer (10,000). */
  openMs: number;
  /** Time a connection must last for retries to start at `baseMs` again (10,000). */
  stableMs: number;
  /** Retries wait random(0, min(capMs, baseMs x 2^attempt)) (1,000). */
  baseMs: number;
  /** (30,000) */
  capMs: number;
  /** Without `server`: assumed duration of a query (15,000). */
  queryMs: number;
  /** Longest wait for one run of a query before the next one starts (30,000). */
  refetchMs: number;
  /** Time over which a hidden page spreads its queries after a reconnect (60,000). */
  hiddenMs: number;
  /** Limit of unsettled messages (100). */
  sendMax: number;
  /** Limit of their bytes (262,144). */
  sendBytesMax: number;
  /** A message that is not written to a socket within this time is rejected (30,000). */
  sendTtlMs: number;
}

/** The lost token. Its channel and params are known if Sidekick ever confirmed it. */
export interface LostToken {
  readonly token: string;
  readonly channel?: string | undefined;
  readonly params?: Params | undefined;
}

export interface SidekickOptions extends Partial<Settings> {
  /** The connection to the app server. Pass `sidekick.server` to CovenantClient in its place. */
  server?: ServerConnection;
  /** The WebSocket class. Default: the global one. */
  WebSocket?: new (
    url: string,
  ) => Anything;
  /** False: no socket, for server-side rendering. Default: true. */
  enabled?: boolean;
  /** Returns a new token for a lost one, or null to drop the channel. */
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
  /** Close code of the WebSocket. */
  readonly code?: number;
  /** Number of connections that failed in a row. */
  readonly attempt?: number;
  /** When the next attempt starts, in milliseconds since 1970. */
  readonly retryAt?: number;
  /** This Sidekick does not answer hello (docs/protocol.md): every reconnect is a gap. */
  readonly legacy?: boolean;
}

export interface Gap {
  readonly channel: string;
  readonly params: Params;
  readonly token: string;
}

export interface Events {
  state: State;
  /** Messages of this channel may be missing. Comes before the first message after the gap. */
  gap: Gap;
  /** The client has dropped this channel: the app server refused a new token. */
  channelLost: LostToken & { readonly error: ChannelError };
  /** Without `withAcks`: a message was not processed, or may not have been. */
  sendFailed: { readonly message: SendMessage; readonly error: Error };
  /** A limit, an exception in a handler, or an error that belongs to no call. */
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

/** The messages that CovenantClient sends. */
export type ClientMessage =
  | SendMessage
  | { type: "subscribe"; token: string }
  | { type: "unsubscribe"; token: string }
  | { type: "listen"; resources: string[] }
  | { type: "unlisten"; resources: string[] };

/** The messages that handlers of `onMessage` get. */
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
  /** False: pongs come from the host, which earlier changes may not have reached yet. */
  readonly pong_at?: boolean;
}

/** A frame from the Sidekick, unchecked: every member may be missing. */
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
   * @throws SendError if it rejects a message of type `send` at once
   */
  sendMessage(message: Anything): void;
  /** The handler gets `message`, `updated`, `subscribed` and `error`. */
  onMessage(handler: (message: Anything) => Anything): () => void;
  /** Opens the socket now. Without this call, the first message does. */
  connect(): void;
  /** Closes the socket. Subscriptions stay, and the next message opens it again. */
  disconnect(): void;
  /** Call it when a React Native app comes to the foreground or the network is back. */
  wake(): void;
  /**
   * Resolves once the app server has accepted the message.
   * Rejects with a SendError otherwise. If its `isUncertain` is true, the app server may have
   * received the message, at most once. If not, it did not accept the message.
   */
  send(channel: string, params: Params, token: string, data: unknown): Promise<void>;
  /** @returns a function that removes the listener */
  on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void;
}
