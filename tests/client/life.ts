// A life is one seed: five minutes of a page with CovenantClient over this client, while the
// network, the hub and the clocks fail. Then the faults stop, and the checks compare what the page
// shows, what it was told, and the outcomes of its sends with the truth. A short life has one
// fault, at a chosen frame.
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToSidekick as npmSidekick } from "@covenant-rpc/client/interfaces/http";
import type { SidekickOptions } from "../../worker/src/client/index.ts";
import "../hosts/shared/covenant-support/node-polyfill.ts";
import { SimAppServer } from "./app-server.ts";
import { HubHost } from "./hub-host.ts";
import type { SimSocket } from "./network.ts";
import { Network } from "./network.ts";
import { connectSidekick, withAcks } from "./support/client.ts";
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

/** One fault, in place of random ones: when this frame is about to arrive. */
export interface Fault {
  readonly frame: number;
  readonly kind: "cut" | "silence" | "crash" | "sleep";
}

export interface LifeOptions {
  readonly module?: WebAssembly.Module;
  readonly fault?: Fault;
  readonly log?: (line: string) => void;
}

export interface Outcome {
  /** Violations of a guarantee. */
  readonly findings: readonly string[];
  /** Frames that were about to arrive, either way, before the quiet. */
  readonly frames: number;
  readonly sockets: number;
  /** Queries that CovenantClient asked for, and those that were made. */
  readonly asked: number;
  readonly fetches: number;
  readonly gaps: number;
  /** Sends by their outcome: "ok", or the code of the error. */
  readonly sends: Readonly<Record<string, number>>;
}

const END_MS = 300_000;
const SHORT_END_MS = 20_000;
const QUIET_MS = 200_000;
/** A reconnect may take longer than the default: two probes, an outage and a backoff. */
const LIMITS = { history_ms: 600_000, token_resume_ms: 600_000 };
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

export async function live(seed: number, mode: Mode, options: LifeOptions = {}): Promise<Outcome> {
  const time = new VirtualTime(seed * 7919);
  time.install();
  try {
    return await new Life(time, mode, options).run();
  } finally {
    time.restore();
  }
}

class Life {
  readonly #time: VirtualTime;
  readonly #mode: Mode;
  readonly #options: LifeOptions;
  readonly #endMs: number;
  readonly #findings: string[] = [];
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
  #asked = 0;
  #frames = 0;
  #page: any;

  constructor(time: VirtualTime, mode: Mode, options: LifeOptions) {
    this.#time = time;
    this.#mode = mode;
    this.#options = options;
    this.#endMs = options.fault === undefined ? END_MS : SHORT_END_MS;
    this.#app = new SimAppServer(time);
    const { module } = options;
    this.#hub = new HubHost(time, this.#app.onMessage, {
      limits: limitsOf(mode),
      ...(module !== undefined && { module }),
    });
    this.#app.connect(this.#hub);
    this.#network = new Network(time, this.#hub, {
      latencyMs: 80,
      hasConstantPongs: mode.hasConstantPongs === true,
      isLegacy: mode.isLegacy === true,
    });
    this.#network.onFrame = (direction, frame, socket) => {
      this.#log(`${direction === "up" ? ">" : "<"} ${frame.slice(0, 160)}`);
      return this.#frames++ !== options.fault?.frame || this.#strike(options.fault.kind, socket);
    };
  }

  async run(): Promise<Outcome> {
    const { dice } = this.#time;
    const { client, wake } = this.#open();
    const loadMs = this.#options.fault === undefined ? 20_000 : 2000;
    for (let query = 0; query < QUERIES; query++)
      this.#time.after(dice.next() * loadMs, () => this.#listen(client, query));
    this.#time.after(500, () => this.#chat(client));
    this.#often(1000, 6000, () => void this.#change());
    if (this.#options.fault === undefined) {
      this.#often(5000, 40_000, () => this.#harm());
      this.#often(7000, 60_000, wake);
    }
    await this.#time.runUntil(this.#endMs);
    const frames = this.#frames;
    await this.#time.runUntil(this.#endMs + QUIET_MS);
    this.#findings.push(...this.#stale(), ...this.#misheard(), ...this.#wrongSends());
    if (this.#mode.isNpm !== true) await this.#leave();
    return {
      findings: this.#findings,
      frames,
      sockets: this.#network.opened,
      asked: this.#asked,
      fetches: this.#app.fetches,
      gaps: this.#gaps,
      sends: count(this.#outcomes.values()),
    };
  }

  #open(): { client: any; wake: () => void } {
    const { connection } = this.#app;
    const { isBare = false, isNpm = false } = this.#mode;
    if (isNpm) {
      Object.assign(globalThis, { WebSocket: this.#network.WebSocket });
      const sidekickConnection = npmSidekick("http://sidekick");
      const connections = { serverConnection: this.#counted(connection), sidekickConnection };
      return { client: new CovenantClient(covenant as any, connections as any), wake: () => {} };
    }
    const options: SidekickOptions = {
      WebSocket: this.#network.WebSocket,
      ...(!isBare && { server: connection }),
    };
    const sidekick = connectSidekick("https://sidekick", options);
    this.#page = sidekick;
    const serverConnection = this.#counted(sidekick.server ?? connection);
    const client = new CovenantClient(covenant as any, {
      ...{ serverConnection: serverConnection as any, sidekickConnection: sidekick },
    });
    sidekick.on("gap", () => {
      this.#gaps++;
      this.#heard.push("gap");
    });
    sidekick.on("state", ({ name, reason = "" }) => this.#log(`state ${name} ${reason}`));
    sidekick.on("problem", ({ message }) => this.#log(`problem ${message}`));
    sidekick.on("channelLost", ({ error }) => {
      this.#log(`channelLost ${error.message}`);
      this.#heard.push("gap");
    });
    return { client: withAcks(client, sidekick), wake: () => sidekick.wake() };
  }

  #counted(server: any): any {
    return {
      sendConnectionRequest: (request: object) => server.sendConnectionRequest(request),
      runProcedure: (request: object) => {
        this.#asked++;
        return server.runProcedure(request);
      },
    };
  }

  #listen(client: any, query: number): void {
    const show = ({ data }: { data: string }) => {
      const before = this.#shown.get(query);
      if (before !== undefined && isOlder(data, before) && this.#mode.isBare !== true)
        this.#findings.push(`G4: query ${query} showed ${before} and then ${data}`);
      this.#shown.set(query, data);
    };
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
        ({ code = "error", isUncertain }: { code?: string; isUncertain?: boolean }) =>
          this.#outcomes.set(message, `${code}${isUncertain ? "?" : ""}`),
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
      const codes = [1001, 1012, 1013, 4000];
      // These settle sends as uncertain: G9 would not hold.
      if (this.#mode.hasRestarts === true) codes.push(1009, 1011);
      const code = codes[dice.below(codes.length)]!;
      for (const socket of sockets) socket.closeWith(code);
    } else if (kind < 0.8) {
      this.#time.wallOffset += (dice.next() - 0.5) * 7_200_000;
    } else if (this.#mode.hasRestarts === true) {
      if (this.#mode.hasConstantPongs === true && dice.chance(0.5)) this.#hub.sleep();
      else this.#hub.crash(dice.chance(0.5) ? 1001 : 1006, dice.chance(0.3));
    }
    this.#log(`harm ${kind.toFixed(2)}`);
  }

  /** @returns false if the socket breaks */
  #strike(kind: Fault["kind"], socket: SimSocket): boolean {
    this.#log(`strike: ${kind}`);
    if (kind === "silence") socket.silence();
    else if (kind === "crash") this.#time.after(0, () => this.#hub.crash(1006, false));
    else if (kind === "sleep") this.#time.after(0, () => this.#hub.sleep());
    return kind === "sleep";
  }

  /** At random times until the end of the life. */
  #often(from: number, intervalMs: number, act: () => void): void {
    const again = () => {
      if (this.#time.now > this.#endMs) return;
      act();
      this.#time.after(this.#time.dice.next() * intervalMs, again);
    };
    this.#time.after(from, again);
  }

  /** Every interest ends: nothing may be left. */
  async #leave(): Promise<void> {
    const { state, resources, channels } = this.#page;
    if (state.name !== "live") this.#findings.push(`G1: the client ended in ${state.name}`);
    if (this.#network.sockets.size !== 1 || this.#hub.openSockets !== 1)
      this.#findings.push(`G1: ${this.#network.sockets.size} sockets, ${this.#hub.openSockets}`);
    if (this.#network.atOnce > 1) this.#findings.push("G1: two sockets at once");
    if (this.#app.atOnce > 1 && this.#mode.isBare !== true)
      this.#findings.push(`G3: a query ran ${this.#app.atOnce} times at once`);
    const names = [...resources.items.keys()];
    this.#page.sendMessage({ type: "unlisten", resources: names });
    for (const token of [...channels.items.keys()])
      this.#page.sendMessage({ type: "unsubscribe", token });
    const left = resources.items.size + channels.items.size;
    if (left > 0) this.#findings.push(`G11: ${left} registers are left`);
    await this.#time.runUntil(this.#time.now + 100_000);
    // The heartbeat, and the hub's own.
    if (this.#time.pending > 8) this.#findings.push(`G11: ${this.#time.pending} timers are left`);
  }

  /** Without restarts, a reconnect to this Sidekick loses nothing. */
  get #isRecoverable(): boolean {
    const { hasRestarts, isLegacy, isNpm } = this.#mode;
    const isHarmless =
      this.#options.fault?.kind !== "crash" && this.#options.fault?.kind !== "sleep";
    return !hasRestarts && !isLegacy && !isNpm && isHarmless;
  }

  #log(line: string): void {
    this.#options.log?.(`${this.#time.now.toFixed(0).padStart(7)} ${line}`);
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
    if (this.#isRecoverable && this.#gaps > 0) yield `G9: ${this.#gaps} gaps`;
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
      else if (outcome === "token" && this.#mode.isBare !== true) yield `G8: ${told}`;
      else if (outcome === "unknown?" && this.#isRecoverable) yield `G9: ${told}`;
      else if (accepted > 1) yield `G6: ${told}`;
      else if (this.#mode.isLegacy === true || outcome.endsWith("?")) continue;
      else if (accepted !== (outcome === "ok" ? 1 : 0)) yield `G6: ${told}`;
    }
  }
}

/** The history exists only from the extension on. */
function limitsOf({ isLegacy }: Mode): Readonly<Record<string, number>> {
  return isLegacy === true ? {} : LIMITS;
}

/** Whether some version in the answer is lower. */
function isOlder(data: string, before: string): boolean {
  const versions = before.split(",").map(Number);
  return data.split(",").some((version, i) => Number(version) < versions[i]!);
}

function count(values: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
