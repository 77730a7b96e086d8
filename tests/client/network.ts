// Sockets on virtual time between a client and a hub, which lose what is under way when they break,
// or go silent without breaking.
import ION from "@covenant-rpc/ion";

import type { HubHost } from "./hub-host.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface NetworkOptions {
  /** The longest time a packet is under way. Frames of one moment share a packet. */
  readonly latencyMs: number;
  /** A Durable Object's: the runtime answers pings, in front of the hub. */
  readonly hasConstantPongs: boolean;
  /** The Sidekick does not know the extension: hello is taken out. */
  readonly isLegacy: boolean;
}

/** What a host does with a socket that has been silent for three of its pings. */
const HOST_TIMEOUT_MS = 90_000;
const ABNORMAL = 1006;

export class Network {
  /** New sockets reach the hub. */
  isUp = true;
  readonly sockets = new Set<SimSocket>();
  opened = 0;
  /** The most sockets that the client used at a time. */
  atOnce = 0;
  /** Called with each frame that is about to arrive; false: the socket breaks instead. */
  onFrame: (direction: "up" | "down", frame: string, socket: SimSocket) => boolean = () => true;
  readonly time: VirtualTime;
  readonly hub: HubHost;
  readonly options: NetworkOptions;

  constructor(time: VirtualTime, hub: HubHost, options: NetworkOptions) {
    this.time = time;
    this.hub = hub;
    this.options = options;
  }

  /** The class to pass to a client. */
  get WebSocket(): new (
    url: string,
  ) => SimSocket {
    const network = this;
    return class extends SimSocket {
      constructor(_url: string) {
        super(network);
      }
    };
  }
}

export class SimSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #network: Network;
  /** The hub's name for it, once it is open. */
  #client = 0;
  /** Nothing arrives at the client any more. */
  #isGone = false;
  /** Nothing arrives anywhere, and nobody is told. */
  #isSilent = false;
  readonly #up: Way;
  readonly #down: Way;
  /** Hello was seen: only the first frame can be it. */
  #isGreeted = false;

  constructor(network: Network) {
    this.#network = network;
    network.sockets.add(this);
    network.opened++;
    network.atOnce = Math.max(network.atOnce, network.sockets.size);
    const { time } = network;
    this.#up = new Way(time, network.options.latencyMs);
    this.#down = new Way(time, network.options.latencyMs);
    time.after(10 + time.dice.next() * 100, () => {
      if (this.#isGone) return;
      if (!network.isUp) return this.#end(ABNORMAL);
      this.#client = network.hub.open({
        deliver: (text) => this.#deliver(text),
        close: (code) => this.#afterDown(() => this.#end(code)),
      });
      this.onopen?.();
    });
  }

  send(text: string): void {
    if (this.#isGone) return;
    const { time, hub, options } = this.#network;
    time.after(this.#up.delayMs(), () => {
      if (this.#isSilent) return;
      if (!this.#network.onFrame("up", text, this)) return this.cut();
      if (options.hasConstantPongs && text === '{"type":"ping"}')
        return this.#deliver('{"type":"pong"}');
      hub.frame(this.#client, this.#greeting(text));
    });
  }

  close(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#network.sockets.delete(this);
    const { time, hub } = this.#network;
    time.after(this.#up.delayMs(), () => {
      if (!this.#isSilent) hub.closed(this.#client);
    });
  }

  /** Both ends notice at once. */
  cut(): void {
    this.#isSilent = true;
    this.#network.hub.closed(this.#client);
    this.#end(ABNORMAL);
  }

  /** Nobody notices, until the client's probe and the host's pings fail. */
  silence(): void {
    this.#isSilent = true;
    const { time, hub } = this.#network;
    time.after(HOST_TIMEOUT_MS, () => hub.closed(this.#client));
  }

  /** Closes as the hub or a proxy does. */
  closeWith(code: number): void {
    this.#network.hub.closed(this.#client);
    this.#end(code);
  }

  #deliver(text: string): void {
    this.#afterDown(() => {
      if (!this.#network.onFrame("down", text, this)) return this.cut();
      this.onmessage?.({ data: text });
    });
  }

  /** After all that is under way to the client. */
  #afterDown(then: () => void): void {
    this.#network.time.after(this.#down.delayMs(), () => {
      if (!this.#isGone && !this.#isSilent) then();
    });
  }

  #end(code: number): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#network.sockets.delete(this);
    this.onclose?.({ code, reason: "" });
  }

  #greeting(text: string): string {
    if (this.#isGreeted || !this.#network.options.isLegacy) return text;
    this.#isGreeted = true;
    const { hello: _, ...rest } = ION.parse(text) as { hello?: string };
    return ION.stringify(rest);
  }
}

/** One direction of a socket: packets arrive in order. */
class Way {
  readonly #time: VirtualTime;
  readonly #latencyMs: number;
  #sent = -1;
  #arrival = 0;

  constructor(time: VirtualTime, latencyMs: number) {
    this.#time = time;
    this.#latencyMs = latencyMs;
  }

  /** How long what is sent now is under way. */
  delayMs(): number {
    const { now, dice } = this.#time;
    if (now !== this.#sent) {
      this.#sent = now;
      this.#arrival = Math.max(this.#arrival, now + 5 + dice.next() * this.#latencyMs);
    }
    return this.#arrival - now;
  }
}
