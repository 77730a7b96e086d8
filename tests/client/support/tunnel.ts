// The network between pages and a Sidekick: a TCP proxy whose connections can break, go silent
// without breaking, or lead to another Sidekick.

import type { AddressInfo } from "node:net";
import * as net from "node:net";

export class Tunnel {
  /** The port of the Sidekick. 0: connections are refused. */
  target: number;
  /** WebSocket upgrades so far. */
  upgrades = 0;
  /** Called with each chunk on its way to a client. False: it is swallowed, and all after it. */
  onDown: (chunk: Buffer) => boolean = () => true;
  readonly #server: net.Server;
  readonly #pairs = new Set<Pair>();

  static async start(target: number): Promise<Tunnel> {
    const tunnel = new Tunnel(target);
    await new Promise<void>((resolve) => tunnel.#server.listen(0, "127.0.0.1", resolve));
    return tunnel;
  }

  private constructor(target: number) {
    this.target = target;
    this.#server = net.createServer((client) => this.#accept(client));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** All connections break, and both ends notice. */
  cut(): void {
    for (const { client } of this.#pairs) client.destroy();
  }

  /** The WebSockets of now stay open, and nothing passes any more. */
  swallow(): void {
    for (const pair of this.#pairs) pair.isSilent ||= pair.isWebSocket;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #accept(client: net.Socket): void {
    if (this.target === 0) return void client.destroy();
    const hub = net.connect(this.target, "127.0.0.1");
    const pair: Pair = { client, isWebSocket: false, isSilent: false };
    this.#pairs.add(pair);
    client.on("data", (chunk) => {
      if (chunk.includes("Upgrade: websocket")) {
        pair.isWebSocket = true;
        this.upgrades++;
      }
      if (!pair.isSilent) hub.write(chunk);
    });
    hub.on("data", (chunk) => {
      pair.isSilent ||= !this.onDown(chunk);
      if (!pair.isSilent) client.write(chunk);
    });
    for (const end of [client, hub]) end.on("error", () => {});
    client.on("close", () => {
      this.#pairs.delete(pair);
      hub.destroy();
    });
    // A network that went silent does not carry the end of a connection either.
    hub.on("close", () => pair.isSilent || client.destroy());
  }
}

interface Pair {
  readonly client: net.Socket;
  isWebSocket: boolean;
  isSilent: boolean;
}
