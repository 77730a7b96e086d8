// The rows of `scripts/bench --against`, by name, and their amount of work.

export type Area =
  | "core, native"
  | "core in WASM"
  | "module"
  | "node"
  | "native server"
  | "wasmtime server"
  | "workerd";
export type Measure = "instructions" | "CPU" | "memory";

/** One line of the report. */
export interface RowId {
  readonly area: Area;
  readonly measure: Measure;
  readonly name: string;
}

export const textOf = ({ area, measure, name }: RowId) => `${area}: ${name}, ${measure}`;

/** The work of the core. The rounds take a few milliseconds (about 50 million instructions). */
const coreWork: readonly { name: string; rounds: number; areas: readonly Area[] }[] = [
  { name: "one send frame", rounds: 100, areas: ["core, native", "core in WASM", "module"] },
  { name: "one publish", rounds: 100, areas: ["core, native", "core in WASM", "module"] },
  { name: "one publish, hello", rounds: 100, areas: ["core, native", "module"] },
  { name: "one publish to 100", rounds: 100, areas: ["core, native", "module"] },
  { name: "one publish to 100, hello", rounds: 100, areas: ["core, native", "module"] },
  { name: "one publish to 1,000", rounds: 100, areas: ["module"] },
  { name: "one publish to 5,000", rounds: 100, areas: ["core, native"] },
  { name: "one publish of 100 KB", rounds: 20, areas: ["module"] },
  { name: "POST /resources, 1 of 5,000 x 10", rounds: 1, areas: ["core, native", "module"] },
  {
    name: "POST /resources, 1 of 5,000 x 10, hello",
    rounds: 1,
    areas: ["core, native", "module"],
  },
  {
    name: "POST /connection, and the end of a token",
    rounds: 1,
    areas: ["core, native", "module"],
  },
  {
    name: "listen to 10 resources, unlisten to 10 resources",
    rounds: 10,
    areas: ["core, native", "module"],
  },
  { name: "read small message", rounds: 10_000, areas: ["core, native", "core in WASM"] },
  { name: "read 10 KB object", rounds: 200, areas: ["core, native", "core in WASM"] },
  { name: "read 1 MB of objects", rounds: 2, areas: ["core, native", "core in WASM"] },
  { name: "read 1 MB of CJK", rounds: 2, areas: ["core, native"] },
];

export const coreAreas = ["core, native", "core in WASM", "module"] as const;
export type CoreArea = (typeof coreAreas)[number];

export const coreRounds = new Map(coreWork.map(({ name, rounds }) => [name, rounds]));
export const coreNames = (area: Area) =>
  coreWork.filter((work) => work.areas.includes(area)).map((work) => work.name);

export const hostAreas = ["node", "native server", "wasmtime server", "workerd"] as const;
export type HostArea = (typeof hostAreas)[number];

/** One step of a pair of servers: commands of load.cpp. */
export type Step =
  | { readonly setup: string }
  | {
      readonly name: string;
      readonly unit: string;
      readonly command: string;
      readonly after?: string;
    }
  /** Growth of the resident memory, divided by `count`. */
  | {
      readonly memory: string;
      readonly unit: string;
      readonly commands: readonly string[];
      readonly count: number;
    };

const sockets = 1000;

/** Name and unit of each row of CPU. */
export const hostRows = new Map<string, string>();
export const memoryRows: string[] = [];

/** `share`: of the usual counts, for slower or simulated hosts. */
export function hostSteps(share: number, inflight: number): Step[] {
  const n = (count: number) => Math.max(1, Math.round(count * share));
  const messages = Math.max(2, n(48));
  const requests = inflight + n(2000);
  return [
    // First, since heaps that have grown hide the memory that a connection adds.
    {
      memory: "idle connection",
      unit: "connection",
      commands: [`open ${sockets} 64`],
      count: sockets,
    },
    { setup: "subscribe room" },
    {
      name: "fan-out to 1,000",
      unit: "delivered message",
      command: `publish ${inflight + messages} ${inflight}`,
    },
    { setup: "listen 10" },
    {
      name: "sparse publish, 1,000 sockets x 10 resources",
      unit: "POST",
      command: `invalidate ${requests} ${inflight}`,
    },
    { name: "token registration", unit: "POST", command: `register ${n(3000)} ${inflight}` },
    { setup: "subscribe own 16" },
    {
      name: "send-forward",
      unit: "forward",
      command: `send ${n(2000)} ${inflight === 1 ? 1 : 16}`,
    },
    { setup: "close" },
    { name: "connect storm", unit: "new socket", command: `open ${n(800)} 64`, after: "close" },
  ];
}

for (const step of hostSteps(1, 8)) {
  if ("name" in step) hostRows.set(step.name, step.unit);
  if ("memory" in step) memoryRows.push(step.memory);
}
