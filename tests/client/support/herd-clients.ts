// The clients of herd.ts, in a process of their own: herd-clients.ts PORT COUNT SECRET. Each
// listens to three resources and is subscribed to one channel. It prints {} once all are live, then
// takes one command per line and answers with one line of JSON:
//
//   stable               waits until every connection is old enough for an early retry (stableMs)
//   begin [cut MS]       a round; with `cut` all sockets drop, and for MS nobody gets a new one
//   end [* | NAME...]    waits until all are live and nothing happens any more, and reports the
//                        round; exactly the listeners to these names must have been told, once
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";
import type { Sidekick } from "../../../worker/src/client/index.ts";
import { connectSidekick } from "./client.ts";
import { LeanSocket } from "./lean-socket.ts";

const [port, count, secret] = process.argv.slice(2) as [string, string, string];
const GROUPS = 100;
const STARTING_MAX = 64;
const QUIET_MS = 3000;
const STABLE_MS = 10_500;
/** A herd that is not back by then never comes. */
const DEADLINE_MS = 115_000;
/** Nobody listens there. */
const CLOSED_URL = "ws://127.0.0.1:1";

/** What herd.ts prints. Times in ms since the round began. */
export interface Report {
  live: number[];
  subscribed: number[];
  told: number[];
  messages: number;
  gaps: number;
  sockets: number;
  problems: string[];
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let began = performance.now();
let isOut = false;
let sockets = 0;
let latest = began;
let latestLive = began;
const open = new Set<LeanSocket>();
const problems: string[] = [];

/** Milliseconds since the round began. */
function since(): number {
  latest = performance.now();
  return latest - began;
}

class Socket extends LeanSocket {
  constructor(url: string) {
    super(isOut ? CLOSED_URL : url);
    sockets++;
    open.add(this);
    this.onend = () => open.delete(this);
  }
}

// --- the app server

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

function register(body: object): Promise<void> {
  const headers = { Authorization: `Bearer ${secret}` };
  return new Promise((resolve, reject) => {
    request({ port, host: "127.0.0.1", path: "/connection", method: "POST", headers, agent })
      .on("error", reject)
      .on("response", (response) => {
        response.resume().on("error", reject);
        response.on("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`${response.statusCode}`)),
        );
      })
      .end(JSON.stringify(body));
  });
}

interface Request {
  readonly channel: string;
  readonly params: Record<string, string>;
}

const server = {
  async sendConnectionRequest({ channel, params }: Request) {
    const token = randomUUID();
    await register({ token, channel, params, context: {} });
    return { channel, params, result: { type: "OK" as const, token } };
  },
  runProcedure: async ({ inputs }: { inputs: readonly string[] }) => ({
    status: "OK" as const,
    resources: [...inputs],
  }),
};

// --- the clients

class Member {
  readonly names: readonly string[];
  live: number | undefined;
  subscribed: number | undefined;
  told: [name: string, at: number][] = [];
  messages = 0;
  gaps = 0;
  readonly #sidekick: Sidekick<typeof server>;
  readonly #room: string;

  constructor(index: number) {
    this.#room = `${index % GROUPS}`;
    this.names = ["everyone", `group/${this.#room}`, `own/${index}`];
    this.#sidekick = connectSidekick(`http://127.0.0.1:${port}`, { server, WebSocket: Socket });
    this.#sidekick.on("state", ({ name }) => {
      this.live = name === "live" ? since() : undefined;
      if (name === "live") latestLive = latest;
    });
    this.#sidekick.on("gap", () => this.gaps++);
    for (const event of ["problem", "channelLost"] as const)
      this.#sidekick.on(event, (value) => problems.push(JSON.stringify(value)));
    this.#sidekick.onMessage(({ type, resource }) => {
      if (type === "updated") this.told.push([resource, since()]);
      else if (type === "subscribed") this.subscribed = since();
      else this.messages++;
    });
  }

  async start(): Promise<void> {
    const { result } = await this.#sidekick.server.sendConnectionRequest({
      channel: "chat",
      params: { room: this.#room },
    });
    this.#sidekick.sendMessage({ type: "subscribe", token: result.token });
    const answer = await this.#sidekick.server.runProcedure({ inputs: this.names });
    this.#sidekick.sendMessage({ type: "listen", resources: answer.resources });
    while (!this.isBack) await sleep(5);
  }

  begin(): void {
    this.live = this.subscribed = undefined;
    this.told = [];
    this.messages = this.gaps = 0;
  }

  get isBack(): boolean {
    return this.live !== undefined && this.subscribed !== undefined;
  }
}

const members = Array.from({ length: Number(count) }, (_, index) => new Member(index));

async function quiet(): Promise<void> {
  while (!members.every((it) => it.isBack) || performance.now() - latest < QUIET_MS) {
    if (performance.now() > DEADLINE_MS)
      throw new Error(`${members.filter((it) => it.isBack).length} of ${count} clients came back`);
    await sleep(20);
  }
}

async function start(): Promise<void> {
  const waiting = [...members];
  const startSome = async () => {
    for (let it = waiting.pop(); it !== undefined; it = waiting.pop()) await it.start();
  };
  await Promise.all(Array.from({ length: STARTING_MAX }, startSome));
  await quiet();
}

function begin(outMs: number | undefined): void {
  for (const member of members) member.begin();
  problems.length = sockets = 0;
  began = performance.now();
  if (outMs === undefined) return;
  isOut = outMs > 0;
  setTimeout(() => (isOut = false), outMs);
  for (const socket of [...open]) socket.break();
}

function report(changed: readonly string[]): Report {
  for (const { names, told } of members) {
    const expected = names.filter((name) => changed.includes(name) || changed[0] === "*");
    const heard = told.map(([name]) => name).sort();
    if (heard.join() !== expected.join())
      throw new Error(`${names[2]}: expected to be told [${expected}], was told [${heard}]`);
  }
  const sorted = (times: number[]) => times.sort((a, b) => a - b);
  return {
    live: sorted(members.map(({ live }) => live!)),
    subscribed: sorted(members.map(({ subscribed }) => subscribed!)),
    told: sorted(members.flatMap(({ told }) => told.map(([, at]) => at))),
    messages: members.reduce((sum, { messages }) => sum + messages, 0),
    gaps: members.reduce((sum, { gaps }) => sum + gaps, 0),
    sockets,
    problems,
  };
}

const answer = (value: object) => console.log(JSON.stringify(value));

await start();
answer({});
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split(" ");
  if (verb === "stable") {
    await sleep(latestLive + STABLE_MS - performance.now());
    answer({});
  } else if (verb === "begin") {
    begin(words[0] === "cut" ? Number(words[1]) : undefined);
    answer({});
  } else {
    await quiet();
    answer(report(words));
  }
}
