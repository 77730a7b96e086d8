// A client on virtual time whose Sidekick is played by the test: it reads what the client writes,
// and says what it likes.
import ION from "@covenant-rpc/ion";

import type { Events, Sidekick, SidekickOptions } from "../../worker/src/client/index.ts";
import { connectSidekick } from "./support/client.ts";
import { VirtualTime } from "./virtual-time.ts";

type Frame = Record<string, any>;

export class StagedSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly url: string;
  readonly written: string[] = [];
  /** The code with which the client closed it. */
  closedWith: number | undefined;

  constructor(url: string) {
    this.url = url;
  }

  send(text: string): void {
    this.written.push(text);
  }

  close(code?: number): void {
    this.closedWith = code;
  }
}

export class Stage {
  readonly time = new VirtualTime(1);
  readonly sockets: StagedSocket[] = [];
  readonly sidekick: Sidekick;
  /** The events of the client, and the messages that its handlers got. */
  readonly told: [string, any][] = [];

  constructor(options: SidekickOptions = {}) {
    this.time.install();
    const { sockets } = this;
    const WebSocket = class extends StagedSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    };
    this.sidekick = connectSidekick("https://sidekick.example.com", { WebSocket, ...options });
    this.sidekick.onMessage((message) => void this.told.push([message.type, message]));
    for (const event of ["gap", "channelLost", "sendFailed", "problem"] as (keyof Events)[])
      this.sidekick.on(event, (value) => this.told.push([event, value]));
  }

  get socket(): StagedSocket {
    return this.sockets.at(-1)!;
  }

  /** What the handlers and listeners were told since the last call: type or event. */
  heard(): string[] {
    return this.told.splice(0).map(([name]) => name);
  }

  run(ms: number): Promise<void> {
    return this.time.runUntil(this.time.now + ms);
  }

  /** What the client has written since the last call. */
  written(): Frame[] {
    return this.socket.written.splice(0).map((text) => ION.parse(text) as Frame);
  }

  async say(...frames: Frame[]): Promise<void> {
    for (const frame of frames) this.socket.onmessage?.({ data: ION.stringify(frame) });
    await this.run(0);
  }

  async drop(code = 1006): Promise<void> {
    this.socket.onclose?.({ code, reason: "" });
    await this.run(0);
  }

  /** Opens the socket that the client waits for, and reads its hello. */
  async open(): Promise<Frame> {
    await this.untilOpening();
    this.socket.onopen?.();
    await this.run(0);
    return this.written()[0]!;
  }

  async untilOpening(): Promise<void> {
    for (let waits = 0; this.sidekick.state.name !== "connecting"; waits++) {
      if (waits > 1000) throw new Error(`no socket in 100 s; ${this.sidekick.state.name}`);
      await this.run(100);
    }
  }

  /** Opens the socket and answers hello, which it returns. */
  async greet({
    epoch = "one",
    at = this.now,
    isLegacy = false,
    pongAt = true,
  } = {}): Promise<Frame> {
    const hello = await this.open();
    const { id } = hello;
    const limits = { spread_ms: 1000, frame_bytes_max: 1000 };
    const welcome = { version: 1, epoch, at, ...limits, ...(!pongAt && { pong_at: false }) };
    await this.say(
      isLegacy
        ? { type: "listening", resources: [] }
        : { type: "listening", resources: [], id, welcome },
    );
    return hello;
  }

  /** The hub's time, as a stamp. */
  get now(): number {
    return Date.now() * 1000;
  }

  end(): void {
    this.sidekick.disconnect();
    this.time.restore();
  }
}

/** A stage for one test. */
export function staged(
  options: SidekickOptions,
  play: (stage: Stage) => Promise<void>,
): () => Promise<void> {
  return async () => {
    const stage = new Stage(options);
    try {
      await play(stage);
    } finally {
      stage.end();
    }
  };
}

/** How a promise stands: "pending", "ok", or the code of its error with "?" if it is uncertain. */
export function outcome(promise: Promise<unknown>): () => string {
  let state = "pending";
  promise.then(
    () => (state = "ok"),
    (error: { code?: string; isUncertain?: boolean; message: string }) =>
      (state = `${error.code ?? error.message}${error.isUncertain ? "?" : ""}`),
  );
  return () => state;
}
