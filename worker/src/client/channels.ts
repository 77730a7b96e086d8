// The channels that the client subscribes to, by the app's token. A register, the entry of one
// channel, outlives sockets. It holds the position up to which the app has all messages, and the
// token in use. If a hub loses that, the client replaces it; the app keeps using its own.
import type { Parts } from "./parts.js";
import type { Item } from "./registers.js";
import { renewed } from "./tokens.js";
import type { ChannelError, ConnectionRequest, Frame, Params } from "./types.js";

const UNSUBSCRIBES_MAX = 64;

export interface Channel extends Item {
  readonly token: string;
  /** The request that returned the token. */
  readonly request: ConnectionRequest | undefined;
  /** The token in use. */
  wire: string;
  /** Subscribes minus unsubscribes: on the wire, the first unsubscribe ends them all. */
  wanted: number;
  channel?: string;
  params?: Params;
  /** Of the two. Undefined: no hub has confirmed the channel yet. */
  topic?: string;
  /** The stamp of the last message. */
  last: number;
  isRenewing?: boolean;
  /** Number of new tokens since the hub confirmed one. */
  renewals: number;
}

export class Channels {
  readonly items = new Map<string, Channel>();
  readonly #parts: Parts;
  /** Tokens to unsubscribe once there is a connection. */
  readonly #unsubscribes = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  subscribe(token: string): void {
    const known = this.items.get(token);
    if (known) {
      known.wanted++;
      return;
    }
    this.#unsubscribes.delete(token);
    const request = this.#parts.server?.requests.get(token);
    const channel = { token, wire: token, request, wanted: 1, at: 0, last: 0, renewals: 0 };
    this.items.set(token, channel);
    if (this.#parts.isLive) this.#join(channel);
  }

  unsubscribe(token: string): void {
    const register = this.items.get(token);
    if (!register || --register.wanted > 0) return;
    this.items.delete(token);
    if (this.#unsubscribes.size < UNSUBSCRIBES_MAX) this.#unsubscribes.add(register.wire);
    if (this.#parts.isLive) this.#flushUnsubscribes();
  }

  /** The connection is live. */
  resume(): void {
    this.#flushUnsubscribes();
    for (const register of this.items.values()) this.#join(register);
  }

  onMessage({ channel, params = {}, data, at = 0 }: Frame): void {
    const confirmed = this.#confirmed(channel, params);
    const isNew = at === 0 || confirmed.every(({ last }) => last < at);
    for (const register of confirmed) {
      register.at = Math.max(register.at, at);
      register.last = Math.max(register.last, at);
      if (register.due! > 0) register.due!--;
    }
    // Otherwise it belongs to a subscription of an older socket of this session.
    if (isNew && confirmed.length > 0)
      void this.#parts.emit({ type: "message", channel: channel!, params, data });
  }

  /** Several Sidekicks share an engine, which has lost messages or the token of a channel. */
  onLoss(frame: Frame): void {
    const { error } = frame;
    const { channel, params } = error ?? frame;
    // The error does not name the token, but the reply does.
    for (const register of this.#confirmed(channel, params))
      if (error) this.#join(register);
      else this.#onSubscribed(register, frame);
  }

  /** @param tries number of temporary rejections so far */
  #join(register: Channel, tries = 0): void {
    if (register.isRenewing || !this.#isWanted(register)) return;
    const { requests } = this.#parts;
    register.due = undefined;
    requests.ask(
      { type: "subscribe", token: register.wire, ...requests.since(register.at) },
      (reply) => {
        if (!this.#isWanted(register)) return;
        if (reply.type !== "error") this.#onSubscribed(register, reply);
        else if (reply.code === "token" || !requests.isCapable)
          void this.#renew(register, reply.error!);
        else this.#parts.complain(reply); // and try after the next welcome
      },
      tries,
      () => this.#join(register, tries + 1),
    );
  }

  #onSubscribed(register: Channel, reply: Frame): void {
    const { channel = "", params = {}, recovered, at = 0, missed = 0 } = reply;
    const isGap = register.topic !== undefined && !recovered;
    Object.assign(register, { channel, params, topic: topicOf(channel, params), due: missed });
    register.renewals = 0;
    if (!recovered) register.last = 0;
    if (missed === 0) register.at = at;
    if (isGap) this.#parts.tell("gap", { channel, params, token: register.token });
    void this.#parts.emit({ type: "subscribed", channel, params });
    this.#parts.sends.flush();
  }

  async #renew(register: Channel, error: ChannelError): Promise<void> {
    const { sends } = this.#parts;
    const { token, channel, params } = register;
    // The previous hub may have forwarded these.
    sends.fail("its token was lost", token);
    register.isRenewing = true;
    const isWanted = () => this.#isWanted(register) && this.#parts.state.name !== "closed";
    const answer = await renewed(this.#parts, register, error, isWanted);
    register.isRenewing = false;
    if (answer === undefined || !this.#isWanted(register)) return; // undefined: until a welcome
    if (typeof answer === "string") {
      Object.assign(register, { wire: answer, at: 0, renewals: register.renewals + 1 });
      if (this.#parts.isLive) this.#join(register);
      return;
    }
    this.items.delete(token);
    sends.fail(`the channel is lost: ${answer.message}`, token, "token");
    this.#parts.tell("channelLost", { token, channel, params, error: answer });
  }

  #flushUnsubscribes(): void {
    for (const token of this.#unsubscribes)
      this.#parts.requests.ask({ type: "unsubscribe", token });
    this.#unsubscribes.clear();
  }

  /** Those that the hub has confirmed on this socket. */
  #confirmed(channel: string | undefined, params?: Params): Channel[] {
    const name = topicOf(channel, params);
    return [...this.items.values()].filter(({ topic, due }) => topic === name && due !== undefined);
  }

  #isWanted(register: Channel): boolean {
    return this.items.get(register.token) === register;
  }
}

const topicOf = (channel: string | undefined, params: Params = {}) =>
  JSON.stringify([channel, Object.entries(params).sort()]);
