// The oracle's reference runs in this process and on its own clock. This test compares it with the
// webserver that npm ships, over real sockets. Without corrections both must be equal; otherwise
// the oracle would compare with something that nobody uses.
import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { httpSidekickToServer } from "@covenant-rpc/server/interfaces/http";
import { startSidekickServer } from "@covenant-rpc/server/sidekick/webserver";
import { WebSocket } from "ws";

import { Reference } from "./reference.ts";
import { generate, type Step, show } from "./script.ts";
import { readable, Seen } from "./seen.ts";

const first = Number(process.env["SEED"] ?? 1);
const secret = "secret";

async function listening(server: http.Server): Promise<string> {
  if (!server.listening) await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Socket {
  readonly ws: WebSocket;
  readonly received: Buffer[];
}

class Webserver {
  readonly #sockets = new Map<number, Socket>();
  readonly #forwards: string[] = [];
  readonly #open: http.ServerResponse[] = [];
  readonly #appServer = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      this.#forwards.push(readable(Buffer.concat(chunks)));
      this.#open.push(response);
    });
  });
  #sidekick!: http.Server;
  #address = "";

  async start(): Promise<void> {
    const appServer = await listening(this.#appServer.listen(0, "127.0.0.1"));
    this.#sidekick = startSidekickServer({
      port: 0,
      secret,
      serverConnection: httpSidekickToServer(`http://${appServer}/`, "key"),
    });
    this.#address = await listening(this.#sidekick);
  }

  async stop(): Promise<void> {
    // A forward whose connection breaks would be an unhandled rejection: the reference does not
    // catch it.
    for (const response of this.#open) response.writeHead(204).end();
    for (const { ws } of this.#sockets.values()) ws.terminate();
    await new Promise((resolve) => this.#appServer.close(resolve));
    this.#sidekick.closeAllConnections();
    await new Promise((resolve) => this.#sidekick.close(resolve));
  }

  /** Like Reference.play; `expected` only tells it what to wait for. */
  async play(step: Step, expected: string): Promise<string> {
    const seen = new Seen();
    if (step.do === "open") await this.#openSocket(step.client);
    if (step.do === "close") await this.#closeSocket(step.client);
    if (step.do === "frame") this.#sockets.get(step.client)?.ws.send(step.text);
    if (step.do === "post") {
      const response = await fetch(`http://${this.#address}${step.path}`, {
        method: "POST",
        body: step.body,
        headers: { authorization: `Bearer ${secret}` },
      });
      await response.text();
      seen.to("response", String(response.status));
    }
    if (step.do === "answer")
      this.#open
        .splice(step.forward % (this.#open.length || 1), 1)[0]
        ?.writeHead(step.status)
        .end(step.body);
    const count = (receiver: string): number =>
      expected.split("\n").filter((line) => line.startsWith(`${receiver} <- `)).length;
    await until(() => this.#forwards.length >= count("app server"));
    for (const body of this.#forwards.splice(0)) seen.to("app server", body);
    for (const [client, socket] of this.#sockets) {
      await until(() => socket.received.length >= count(`client ${client}`));
      for (const message of await this.#received(socket))
        seen.to(`client ${client}`, readable(message));
    }
    return seen.text();
  }

  /** Everything received before the answer to a frame that is certain to be answered. */
  async #received({ ws, received }: Socket): Promise<Buffer[]> {
    const before = received.length;
    ws.send("{{{");
    await until(() => received.length > before);
    return received.splice(0).slice(0, -1);
  }

  async #openSocket(client: number): Promise<void> {
    const ws = new WebSocket(`ws://${this.#address}/socket`);
    const received: Buffer[] = [];
    ws.on("message", (data: Buffer) => received.push(data));
    await once(ws, "open");
    this.#sockets.set(client, { ws, received });
  }

  async #closeSocket(client: number): Promise<void> {
    const ws = this.#sockets.get(client)?.ws;
    this.#sockets.delete(client);
    if (ws === undefined) return;
    ws.close();
    await once(ws, "close");
  }
}

/** Bounded, so that a missing message shows as a difference; generously, for a busy machine. */
async function until(isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !isTrue() && performance.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 1));
}

test("the oracle's uncorrected reference behaves like npm's own webserver", async (t) => {
  t.mock.method(console, "log", () => {}); // its log cannot be turned off
  for (let seed = first; seed < first + 12; ++seed) {
    // A broken connection of the app server would end the process that runs this test.
    const steps = generate(seed)
      .filter((step) => step.do !== "answer" || step.status !== 0)
      .slice(0, 60);
    const reference = new Reference([]);
    const webserver = new Webserver();
    await webserver.start();
    try {
      for (const [at, step] of steps.entries()) {
        const expected = await reference.play(step);
        assert.equal(
          await webserver.play(step, expected),
          expected,
          `SEED=${seed}, step ${at}: ${show(step)}`,
        );
      }
    } finally {
      await webserver.stop();
    }
  }
});
