// The scenarios, as commands to the load generator. A quick run has smaller counts but the same
// steps.

/**
 * One figure: the command that is repeated and measured, and the command that restores the state
 * afterwards.
 */
export interface Row {
  name: string;
  unit: string;
  command: string;
  after?: string;
  /** By target: the largest share of the reference in Node that meets the aim. */
  aims?: Record<string, number>;
}

export interface Scenario {
  name: string;
  setup: string[];
  rows: Row[];
}

export interface MemoryScenario {
  name: string;
  unit: string;
  aim: string;
  /** Run before the first reading, so that code and heaps have reached their size. */
  warm: string[];
  /** The commands whose memory is measured, and how many times it is read on the same server. */
  commands: string[];
  count: number;
  readings: number;
  /** How many garbage collections precede a reading (default 2). */
  collections?: number;
  /** How many fresh servers are measured. */
  rounds: number;
  limits?: Record<string, number>;
}

export function scenarios(quick: boolean): Scenario[] {
  const n = (count: number) => (quick ? count / 2 : count);
  const inflight = 8;
  const fanout = (subscribers: number): Scenario => {
    const messages = Math.ceil((quick ? 16_000 : 80_000) / subscribers);
    return {
      name: `fan-out ${subscribers}`,
      setup: [`open ${subscribers} 64`, "subscribe room"],
      rows: [
        {
          name: `fan-out to ${subscribers}, ${inflight} in flight`,
          unit: "delivered message",
          command: `publish ${inflight + Math.max(2 * inflight, messages)} ${inflight}`,
          aims: { ours: 0.5, wasmtime: 0.25 },
        },
        {
          name: `fan-out to ${subscribers}, one at a time`,
          unit: "delivered message",
          command: `publish ${1 + Math.max(3, Math.round(messages / 2))} 1`,
        },
      ],
    };
  };
  // The aims are for servers with many connections, where a publish must not touch clients that do
  // not listen.
  const sparse = (sockets: number, resources: number): Scenario => {
    const aims = sockets >= 5000 ? { aims: { ours: 0.25, wasmtime: 0.1 } } : {};
    const name = `sparse publish, ${sockets} sockets x ${resources} resources`;
    return {
      name: `sparse ${sockets}`,
      setup: [`open ${sockets} 64`, `listen ${resources}`],
      rows: [
        {
          name: `${name}, ${inflight} in flight`,
          unit: "POST",
          command: `invalidate ${inflight + n(2000)} ${inflight}`,
          ...aims,
        },
        {
          name: `${name}, one at a time`,
          unit: "POST",
          command: `invalidate ${1 + n(600)} 1`,
          ...aims,
        },
      ],
    };
  };
  return [
    ...[100, 1000, 5000].map(fanout),
    ...[10, 1000, 5000].map((sockets) => sparse(sockets, 10)),
    sparse(10_000, 5),
    {
      name: "forward",
      setup: ["open 16 16", "subscribe own"],
      rows: [
        {
          name: "send-forward, 16 clients",
          unit: "forward",
          command: `send ${n(2000)} 16`,
          aims: { ours: 0.4, wasmtime: 0.1 },
        },
        {
          name: "send-forward, one at a time",
          unit: "forward",
          command: `send ${n(500)} 1`,
          aims: { wasmtime: 0.1 },
        },
      ],
    },
    {
      name: "tokens",
      setup: [],
      rows: [
        {
          name: "token registration, 8 in flight",
          unit: "POST",
          command: `register ${n(3000)} 8`,
          aims: { ours: 0.9, wasmtime: 0.1 },
        },
      ],
    },
    {
      name: "storm",
      setup: [],
      rows: [
        {
          name: "connect storm, 64 at a time",
          unit: "new socket",
          command: `open ${n(1000)} 64`,
          after: "close",
        },
      ],
    },
  ];
}

export function memoryScenarios(quick: boolean): MemoryScenario[] {
  const sockets = quick ? 2000 : 5000;
  const cycles = 3000;
  return [
    {
      name: `idle memory, ${sockets} sockets`,
      unit: "KB per connection",
      aim: "Node: at most 1.0 of the reference; wasmtime: 4",
      warm: ["open 100 64", "close"],
      commands: [`open ${sockets} 64`],
      count: sockets,
      readings: 1,
      rounds: quick ? 1 : 3,
    },
    {
      name: "memory, 10000 sockets with 5 resources each",
      unit: "KB per connection",
      aim: "",
      warm: ["open 100 64", "close"],
      commands: ["open 10000 64", "listen 5"],
      count: 10_000,
      readings: 1,
      rounds: 1,
    },
    {
      name: `leak, ${cycles} connect-subscribe-listen-close cycles`,
      unit: "KB per cycle",
      aim: "none",
      // Even the bare floor in Node grows by 20 MB during the first 9,000 connections, and then no
      // more.
      warm: Array<string>(quick ? 2 : 3).fill(`cycle ${cycles} 16`),
      commands: [`cycle ${cycles} 16`],
      count: cycles,
      readings: quick ? 1 : 3,
      rounds: 1,
      // A token outlives its socket by design, so that a dropped client can return: here that span
      // must have passed.
      limits: { token_resume_ms: 100 },
    },
  ];
}

/** Each row is a column of scripts/bench --peers. A publish begins when all have the one before. */
export function peerScenarios(): Scenario[] {
  const to = (listeners: number, publishes: number, name: string, unit: string): Scenario => ({
    name,
    setup: [`open ${listeners} 64`, "subscribe room"],
    rows: [{ name, unit, command: `publish ${1 + publishes} 1 exact` }],
  });
  return [
    to(100, 400, "fan-out to 100", "us per delivered message"),
    to(1000, 40, "fan-out to 1,000", "us per delivered message"),
    to(1, 2000, "publish to one", "us per POST"),
  ];
}

export const peerMemory: MemoryScenario = {
  name: "idle listener of 5,000",
  unit: "KB",
  aim: "",
  warm: ["open 500 64", "subscribe room", "publish 11 1 exact", "close"],
  commands: ["open 5000 64", "subscribe room", "publish 2 1 exact"],
  count: 5000,
  readings: 1,
  // Go returns memory to the system over seconds: after 9 collections and 4 s, no more.
  collections: 15,
  rounds: 3,
};
