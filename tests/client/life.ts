// One seed: five minutes of a page with CovenantClient over this client, while the network, the hub
// and the clocks fail; then quiet, and the question what the page shows, was told and believes.
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToSidekick as npmSidekick } from "@covenant-rpc/client/interfaces/http";
import type { SidekickOptions } from "../../worker/src/client/index.ts";
import { connectSidekick, SendError, withAcks } from "../../worker/src/client/index.ts";
import "../hosts/shared/covenant-support/node-polyfill.ts";
import { SimAppServer } from "./app-server.ts";
import { HubHost } from "./hub-host.ts";
import { Network } from "./network.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface Mode {
  /** A Sidekick that does not know the extension. */
  readonly isLegacy?: boolean;
  /** As Cloudflare's: constant pongs, sleeps. */
  readonly hasConstantPongs?: boolean;
  readonly hasRestarts?: boolean;
  /** Without the option `server`. */
  readonly isBare?: boolean;
  /** The npm client's own connection: for comparison only. */
  readonly isNpm?: boolean;
}

export const MODES = {
  capable: { hasRestarts: true },
  "constant-pongs": { hasRestarts: true, hasConstantPongs: true },
  "no-restarts": {},
  legacy: { hasRestarts: true, isLegacy: true },
  bare: { isBare: true },
} satisfies Record<string, Mode>;

export interface Outcome {
  /** What a guarantee forbids. */
  readonly findings: readonly string[];
  readonly sockets: number;
  readonly fetches: number;
  readonly gaps: number;
  /** Sends by their outcome: "ok", or the code of the error. */
  readonly sends: Readonly<Record<string, number>>;
}

const END_MS = 300_000;
const QUIET_MS = 400_000;
const QUERIES = 4;
const ok = {
  "~standard": { version: 1, vendor: "sim", validate: (value: unknown) => ({ value }) },
};
const covenant = {
  procedures: { query: { type: "query", input: ok, output: ok } },
  channels: { chat: {} },
};
const PARAMS = { room: "1" };

/** A query reads a list and two entries. */
const namesOf = (query: number) => ["list", `todo/${query}`, `todo/${(query + 1) % 6}`];

export async function live(
  seed: number,
  mode: Mode,
  options: { module?: WebAssembly.Module; log?: (line: string) => void } = {},
): Promise<Outcome> {
  const time = new VirtualTime(seed * 7919);
  const log = (line: string) => options.log?.(`${time.now.toFixed(0).padStart(7)} ${line}`);
  time.install();
  try {
    return await new Life(time, mode, log, options.module).run();
  } finally {
    time.restore();
  }
}

class Life {
  readonly #time: VirtualTime;
  readonly #mode: Mode;
  readonly #log: (line: string) => void;
  readonly #app: SimAppServer;
  readonly #hub: HubHost;
  readonly #network: Network;
  /** What each query's listener saw last. */
  readonly #shown = new Map<number, string>();
  /** Messages of the channel, and gaps, as they came. */
  readonly #heard: (number | "gap")[] = [];
  readonly #outcomes = new Map<string, string>();
  #sent = 0;
  #published = 0;
  #gaps = 0;

  constructor(
    time: VirtualTime,
    mode: Mode,
    log: (line: string) => void,
    module: WebAssembly.Module | undefined,
  ) {
    this.#time = time;
    this.#mode = mode;
    this.#log = log;
    this.#app = new SimAppServer(time);
    this.#hub = new HubHost(time, this.#app.onMessage, module === undefined ? {} : { module });
    this.#app.connect(this.#hub);
    this.#network = new Network(time, this.#hub, {
      latencyMs: 80,
      hasConstantPongs: mode.hasConstantPongs === true,
      isLegacy: mode.isLegacy === true,
    });
    this.#network.onFrame = (direction, frame) => {
      log(`${direction === "up" ? ">" : "<"} ${frame.slice(0, 160)}`);
      return true;
    };
  }

  async run(): Promise<Outcome> {
    const { dice } = this.#time;
    const { client, wake } = this.#page();
    for (let query = 0; query < QUERIES; query++)
      this.#time.after(dice.next() * 20_000, () => this.#listen(client, query));
    this.#time.after(500, () => this.#chat(client));
    this.#often(1000, 6000, () => void this.#change());
    this.#often(5000, 40_000, () => this.#harm());
    this.#often(7000, 60_000, wake);
    await this.#time.runUntil(END_MS + QUIET_MS);
    return {
      findings: this.#findings(),
      sockets: this.#network.opened,
      fetches: this.#app.fetches,
      gaps: this.#gaps,
      sends: count(this.#outcomes.values()),
    };
  }

  #page(): { client: any; wake: () => void } {
    const { connection } = this.#app;
    const { isBare = false, isNpm = false } = this.#mode;
    if (isNpm) {
      Object.assign(globalThis, { WebSocket: this.#network.WebSocket });
      const sidekickConnection = npmSidekick("http://sidekick");
      const connections = { serverConnection: connection, sidekickConnection };
      return { client: new CovenantClient(covenant as any, connections as any), wake: () => {} };
    }
    const options: SidekickOptions = {
      WebSocket: this.#network.WebSocket,
      ...(!isBare && { server: connection }),
    };
    const sidekick = connectSidekick("https://sidekick", options);
    const serverConnection = sidekick.server ?? connection;
    const client = new CovenantClient(covenant as any, {
      ...{ serverConnection: serverConnection as any, sidekickConnection: sidekick },
    });
    sidekick.on("gap", () => {
      this.#gaps++;
      this.#heard.push("gap");
    });
    sidekick.on("state", ({ name, reason = "" }) => this.#log(`state ${name} ${reason}`));
    sidekick.on("problem", ({ message }) => this.#log(`problem ${message}`));
    sidekick.on("channelLost", ({ error }) => this.#log(`channelLost ${error.message}`));
    return { client: withAcks(client, sidekick), wake: () => sidekick.wake() };
  }

  #listen(client: any, query: number): void {
    const show = ({ data }: { data: string }) => void this.#shown.set(query, data);
    client.listen("query", namesOf(query), show, true);
  }

  async #chat(client: any): Promise<void> {
    const { token } = await client.connect("chat", PARAMS, null);
    await client.subscribe("chat", PARAMS, token, (data: number) => this.#heard.push(data));
    this.#often(1500, 4000, () => {
      void this.#app.publish("chat", PARAMS, ++this.#published);
    });
    this.#often(2500, 5000, () => {
      const message = `message-${++this.#sent}`;
      client.send("chat", PARAMS, token, message).then(
        () => this.#outcomes.set(message, "ok"),
        (error: unknown) =>
          this.#outcomes.set(
            message,
            error instanceof SendError ? `${error.code}${error.isUncertain ? "?" : ""}` : "error",
          ),
      );
    });
  }

  #change(): Promise<void> {
    const { dice } = this.#time;
    const entry = `todo/${dice.below(6)}`;
    return this.#app.change(dice.chance(0.5) ? [entry] : ["list", entry]);
  }

  #harm(): void {
    const { dice } = this.#time;
    const sockets = [...this.#network.sockets];
    const kind = dice.next();
    if (kind < 0.25) for (const socket of sockets) socket.cut();
    else if (kind < 0.5) for (const socket of sockets) socket.silence();
    else if (kind < 0.65) {
      this.#network.isUp = false;
      for (const socket of sockets) socket.silence();
      this.#time.after(dice.next() * 20_000, () => {
        this.#network.isUp = true;
      });
    } else if (kind < 0.72) {
      const code = [1001, 1009, 1011, 1012, 1013, 4000][dice.below(6)]!;
      for (const socket of sockets) socket.closeWith(code);
    } else if (kind < 0.8) {
      this.#time.wallOffset += (dice.next() - 0.5) * 7_200_000;
    } else if (this.#mode.hasRestarts === true) {
      if (this.#mode.hasConstantPongs === true && dice.chance(0.5)) this.#hub.sleep();
      else this.#hub.crash(dice.chance(0.5) ? 1001 : 1006, dice.chance(0.3));
    }
    this.#log(`harm ${kind.toFixed(2)}`);
  }

  /** At random times until the end of the life. */
  #often(from: number, intervalMs: number, act: () => void): void {
    const again = () => {
      if (this.#time.now > END_MS) return;
      act();
      this.#time.after(this.#time.dice.next() * intervalMs, again);
    };
    this.#time.after(from, again);
  }

  #findings(): string[] {
    return [...this.#stale(), ...this.#misheard(), ...this.#wrongSends()];
  }

  *#stale(): Iterable<string> {
    for (let query = 0; query < QUERIES; query++) {
      const wanted = this.#app.read(namesOf(query));
      const shown = this.#shown.get(query);
      if (shown !== wanted) yield `G2: query ${query} shows ${shown}, the database has ${wanted}`;
    }
  }

  /** In order and once; holes only behind a gap. */
  *#misheard(): Iterable<string> {
    let last = 0;
    let mayMiss = true;
    for (const heard of this.#heard) {
      if (heard === "gap") {
        mayMiss = true;
        continue;
      }
      if (heard <= last) yield `G5: message ${heard} came after ${last}`;
      if (heard > last + 1 && !mayMiss) yield `G5: no gap was told between ${last} and ${heard}`;
      last = heard;
      mayMiss = false;
    }
    if (last < this.#published && !mayMiss)
      yield `G5: no gap was told between ${last} and the last message, ${this.#published}`;
  }

  *#wrongSends(): Iterable<string> {
    for (let i = 1; i <= this.#sent; i++) {
      const message = `message-${i}`;
      const accepted = this.#app.accepted.get(message) ?? 0;
      const outcome = this.#outcomes.get(message);
      const told = `${message} was accepted ${accepted} times and ended with ${outcome}`;
      if (outcome === undefined) yield `G7: ${told}`;
      else if (accepted > 1) yield `G6: ${told}`;
      else if (this.#mode.isLegacy === true || outcome.endsWith("?")) continue;
      else if (accepted !== (outcome === "ok" ? 1 : 0)) yield `G6: ${told}`;
    }
  }
}

function count(values: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
