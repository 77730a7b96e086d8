// The channels that the client subscribes to, by the app's token. A register outlives sockets: it
// carries the position up to which the app has all messages, and the token in use, which a hub may
// lose. The app keeps its own for ever.
import { backoffMs, jitter } from "./backoff.js";
import { isTemporary } from "./options.js";
import type { Parts } from "./parts.js";
import { renewToken } from "./tokens.js";
import type { ChannelError, ConnectionRequest, Frame, Params } from "./types.js";

const GOODBYES_MAX = 64;

export interface Channel {
  readonly token: string;
  /** How the app got the token. */
  readonly request: ConnectionRequest | undefined;
  /** The token in use. */
  wire: string;
  /** Subscribes minus unsubscribes: on the wire, the first unsubscribe would end all. */
  wanted: number;
  channel?: string | undefined;
  params?: Params | undefined;
  /** The app has every message up to here. 0: unknown. */
  at: number;
  /** The stamp of the last message. */
  last: number;
  /** Missed messages that are still to come. */
  due: number;
  /** The hub has confirmed it on this socket. */
  isConfirmed: boolean;
  /** It was confirmed once, so the app may miss messages. */
  hasJoined: boolean;
  isRenewing: boolean;
  tries: number;
}

export class Channels {
  readonly #parts: Parts;
  readonly #channels = new Map<string, Channel>();
  /** Tokens to unsubscribe once there is a connection. */
  readonly #goodbyes = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  subscribe(token: string): void {
    const known = this.#channels.get(token);
    if (known !== undefined) {
      known.wanted++;
      return;
    }
    this.#goodbyes.delete(token);
    const channel = {
      ...{ token, wire: token, request: this.#parts.queries?.requestOf(token) },
      ...{ wanted: 1, at: 0, last: 0, due: 0, tries: 0 },
      ...{ isConfirmed: false, hasJoined: false, isRenewing: false },
    };
    this.#channels.set(token, channel);
    if (this.#parts.connection.isLive) this.#join(channel);
  }

  unsubscribe(token: string): void {
    const channel = this.#channels.get(token);
    if (channel === undefined || --channel.wanted > 0) return;
    this.#channels.delete(token);
    const { connection, requests } = this.#parts;
    if (connection.isLive) requests.ask({ type: "unsubscribe", token: channel.wire });
    else if (this.#goodbyes.size < GOODBYES_MAX) this.#goodbyes.add(channel.wire);
  }

  /** The token to write in place of the app's. */
  wireOf(token: string): string {
    return this.#channels.get(token)?.wire ?? token;
  }

  /** A message of a subscribed channel waits until it is confirmed: the token may be lost. */
  mayWrite(token: string): boolean {
    return this.#channels.get(token)?.isConfirmed !== false;
  }

  /** The connection is live. */
  resume(): void {
    for (const token of this.#goodbyes) this.#parts.requests.ask({ type: "unsubscribe", token });
    this.#goodbyes.clear();
    for (const channel of this.#channels.values()) this.#join(channel);
  }

  onMessage({ channel, params = {}, data, at = 0 }: Frame): void {
    const named = this.#named(channel, params);
    const confirmed = named.filter(({ isConfirmed }) => isConfirmed);
    if (confirmed.length === 0) return; // of an older socket of this session
    const isDuplicate = at > 0 && named.some(({ last }) => last >= at);
    for (const register of confirmed) {
      register.at = Math.max(register.at, at);
      register.last = Math.max(register.last, at);
      if (register.due > 0) register.due--;
    }
    if (!isDuplicate) void this.#parts.emit({ type: "message", channel: channel!, params, data });
  }

  /** A `subscribed` that answers nothing: the hub has lost messages. */
  onLoss({ channel, params = {} }: Frame): void {
    for (const register of this.#named(channel, params)) this.#gap(register);
  }

  /** An error that answers nothing: the hub has lost a token. */
  onTokenDropped(error: ChannelError): void {
    for (const register of this.#named(error.channel, error.params)) {
      register.isConfirmed = false;
      void renewToken(this.#parts, this, register, error);
    }
  }

  /** Everything up to this position was delivered on this socket. */
  advance(position: number): void {
    for (const register of this.#channels.values())
      if (register.isConfirmed && register.due === 0) register.at = Math.max(register.at, position);
  }

  onAbandon(): void {
    for (const register of this.#channels.values()) register.isConfirmed = false;
  }

  /** Positions mean nothing to this hub. */
  reset(): void {
    for (const register of this.#channels.values()) register.at = register.last = 0;
  }

  isWanted(register: Channel): boolean {
    return this.#channels.get(register.token) === register;
  }

  /** The app server has issued another token. */
  onToken(register: Channel, wire: string): void {
    register.wire = wire;
    register.at = 0;
    if (this.#parts.connection.isLive) this.#join(register);
  }

  /** There is no other token. */
  give(register: Channel, error: ChannelError): void {
    this.#channels.delete(register.token);
    const { token, channel, params } = register;
    this.#parts.sends.onChannelLost(token, error);
    this.#parts.tell("channelLost", { token, channel, params, error });
  }

  #join(register: Channel): void {
    if (register.isRenewing) return;
    const { hub, requests } = this.#parts;
    const { wire: token, at } = register;
    const since = requests.isCapable && at > 0 && { since: at, epoch: hub.epoch };
    requests.ask({ type: "subscribe", ...{ token, ...since } }, (reply) => {
      if (!this.isWanted(register)) return;
      if (reply.type === "error") this.#onError(register, reply);
      else this.#onSubscribed(register, reply);
    });
  }

  #onSubscribed(register: Channel, reply: Frame): void {
    const { channel = "", params = {}, recovered, at = 0, missed = 0 } = reply;
    const isGap = register.hasJoined && recovered !== true;
    Object.assign(register, { channel, params, isConfirmed: true, hasJoined: true, tries: 0 });
    register.due = missed;
    if (recovered !== true) register.at = at;
    if (isGap) this.#gap(register);
    void this.#parts.emit({ type: "subscribed", channel, params });
    this.#parts.sends.flush();
  }

  #onError(register: Channel, { code, error }: Frame): void {
    const { requests, options, tell } = this.#parts;
    if (code === "token" || !requests.isCapable)
      return void renewToken(this.#parts, this, register, error!);
    tell("problem", { message: error!.message, ...(code !== undefined && { code }) });
    if (!isTemporary(code)) return; // until the next welcome
    setTimeout(
      () => {
        const { connection } = this.#parts;
        if (connection.isLive && this.isWanted(register) && !register.isConfirmed)
          this.#join(register);
      },
      jitter(backoffMs(options, register.tries++)),
    );
  }

  #gap({ token, channel, params }: Channel): void {
    this.#parts.tell("gap", { channel: channel!, params: params!, token });
  }

  #named(channel: string | undefined, params: Params): Channel[] {
    return [...this.#channels.values()].filter(
      (register) => register.channel === channel && isEqual(register.params ?? {}, params),
    );
  }
}

function isEqual(a: Params, b: Params): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
