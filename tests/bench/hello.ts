// scripts/bench --hello: what clients that said hello cost more than those that did not, side by
// side in one run: instructions in the core and in the module, CPU and bytes of the whole server
// per delivered message, and the memory of the change log and the history at their limits.
import { execFileSync } from "node:child_process";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { load } from "./against/border.js";
import {
  countInstructions,
  forgetCallgrind,
  missingCallgrind,
  underCallgrind,
} from "./against/callgrind.js";
import { type Product, thisTree } from "./against/commit.js";
import { countCore } from "./against/core.js";
import { median, medianInterval } from "./against/statistics.js";
import { buildDrivers } from "./compile.js";
import { machine, misuse, progress, runBench } from "./processes.js";
import { table } from "./tables.js";
import { Rig, type Target, targets } from "./targets.js";

const parts = { instructions, servers, memory };
type Part = keyof typeof parts;

const options = readOptions();

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        hello: { type: "boolean" },
        only: { type: "string", multiple: true },
        rounds: { type: "string", default: "15" },
        list: { type: "boolean", default: false },
      },
    });
    const names = Object.keys(parts);
    const stranger = values.only?.find((name) => !names.includes(name));
    if (stranger !== undefined)
      throw new Error(`--only: expected one of ${names.join(", ")}, got ${stranger}`);
    if (!/^[1-9]\d?$/.test(values.rounds))
      throw new Error(`--rounds: expected 1 to 99, got ${values.rounds}`);
    return {
      parts: (values.only ?? names) as Part[],
      rounds: Number(values.rounds),
      list: values.list,
    };
  } catch (error) {
    misuse(error as Error);
  }
}

async function main(): Promise<void> {
  if (options.list) return console.log(Object.keys(parts).join("\n"));
  await build();
  const isCounting = options.parts.some((part) => part !== "memory");
  const missing = isCounting ? missingCallgrind() : undefined;
  if (missing !== undefined) throw new Error(missing);
  console.log(
    `\`scripts/bench ${process.argv.slice(2).join(" ")}\` on ` +
      `${new Date().toISOString().slice(0, 10)}: ${machine()}.`,
  );
  for (const part of options.parts) {
    progress(`${part}, load average ${loadavg()[0]!.toFixed(1)}`);
    console.log(`\n${await parts[part]()}`);
  }
  progress(`done, load average ${loadavg()[0]!.toFixed(1)}`);
}

async function build(): Promise<void> {
  const products: Record<Part, Product[]> = {
    instructions: ["core_bench", "module"],
    servers: ["module", "package", "server", "wasi_module"],
    memory: ["core_bench", "wasm_bench"],
  };
  const tree = thisTree();
  await tree.build(new Set(options.parts.flatMap((part) => products[part])));
  if (tree.missing.size > 0) throw new Error([...tree.missing.values()].join("; "));
  await buildDrivers();
}

/** Works of core_work.hpp. */
async function instructions(): Promise<string> {
  const names = ["one publish", "one publish to 100", "POST /resources, 1 of 5,000 x 10"];
  const areas = ["core, native", "module"] as const;
  const both = names.flatMap((name) => [name, `${name}, hello`]);
  const counts = await Promise.all(areas.map((area) => countCore(thisTree(), area, both)));
  const rows = names.map((name) => {
    const cells = counts.flatMap((count) => {
      const [plain, hello] = [count.get(name)!, count.get(`${name}, hello`)!];
      return [plain.toFixed(0), hello.toFixed(0), ratio(hello / plain)];
    });
    return [name, ...cells];
  });
  const head = areas.flatMap((area) => [area, "hello", "ratio"]);
  return `### Instructions per input\n\n${table(["", ...head], rows)}`;
}

interface Delivery {
  readonly name: string;
  readonly unit: string;
  readonly setup: readonly string[];
  /** For load.cpp; `counted` has smaller counts, since callgrind is slow. */
  readonly command: string;
  readonly counted: string;
}

const deliveries: Delivery[] = [
  {
    name: "fan-out to 100",
    unit: "delivered message",
    setup: ["subscribe room"],
    command: "publish 500 8",
    counted: "publish 20 1",
  },
  {
    name: "one subscriber",
    unit: "delivered message",
    setup: ["subscribe room"],
    command: "publish 5000 8",
    counted: "publish 200 1",
  },
  {
    name: "`updated`, one listener of 100 x 10",
    unit: "delivered update",
    setup: ["listen 10"],
    command: "invalidate 5000 8",
    counted: "invalidate 200 1",
  },
];

async function servers(): Promise<string> {
  const rows: string[][] = [];
  for (const delivery of deliveries) {
    for (const id of ["native", "wasmtime", "ours"]) {
      const target = targets.find((it) => it.id === id)!;
      progress(`${delivery.name}: ${target.label}`);
      rows.push([`${delivery.name}: ${target.label}`, ...(await timed(target, delivery))]);
    }
    const native = targets.find(({ id }) => id === "native")!;
    progress(`${delivery.name}: counting instructions of the native server`);
    const [plain, hello] = await counted(native, delivery);
    rows.push([
      `${delivery.name}: instructions of the native server`,
      delivery.unit,
      plain!.toFixed(0),
      hello!.toFixed(0),
      ratio(hello! / plain!),
      ...["", "", "", ""],
    ]);
  }
  const head = ["", "of one", "CPU us", "hello", "ratio", "interval", "bytes", "hello", "ratio"];
  return `### The whole server, per delivered message\n\n${table(head, rows)}`;
}

/** A plain rig, and one whose clients said hello. */
async function rigs(target: Target, { name, setup }: Delivery, core: number | null = 0) {
  const both: Rig[] = [];
  for (const hello of [[], ["hello"]]) {
    const rig = await Rig.start(target, undefined, core);
    both.push(rig);
    const sockets = name === "one subscriber" ? 1 : 100;
    for (const command of [`open ${sockets} 16`, ...hello, ...setup]) await rig.run(command);
  }
  return both as [Rig, Rig];
}

async function timed(target: Target, delivery: Delivery): Promise<string[]> {
  const [plain, hello] = await rigs(target, delivery);
  const runs: { plain: number; hello: number; ratio: number }[] = [];
  let bytes: number[] = [];
  try {
    for (let round = -1; round <= options.rounds; round++) {
      const order = round % 2 === 0 ? [plain, hello] : [hello, plain];
      const measured = new Map<Rig, { cpu_us: number; frame_bytes: number }>();
      for (const rig of order) measured.set(rig, await rig.run(delivery.command));
      if (round <= 0) continue; // warms up
      const [one, other] = [measured.get(plain)!, measured.get(hello)!];
      runs.push({ plain: one.cpu_us, hello: other.cpu_us, ratio: other.cpu_us / one.cpu_us });
      bytes = [one.frame_bytes, other.frame_bytes];
    }
  } finally {
    await Promise.all([plain.end(), hello.end()]);
  }
  const { low, high } = medianInterval(runs.map((run) => run.ratio));
  return [
    delivery.unit,
    median(runs.map((run) => run.plain)).toFixed(2),
    median(runs.map((run) => run.hello)).toFixed(2),
    ratio(median(runs.map((run) => run.ratio))),
    `${ratio(low)} to ${ratio(high)}`,
    ...bytes.map((value) => value.toFixed(0)),
    ratio(bytes[1]! / bytes[0]!),
  ];
}

/** In user space; the least of some, since timing decides how often a server wakes. */
async function counted(target: Target, delivery: Delivery): Promise<number[]> {
  const simulated: Target = {
    ...target,
    command: (...settings) => underCallgrind(target.command(...settings)),
  };
  const both = await rigs(simulated, delivery, null);
  const leasts = both.map(() => Infinity);
  try {
    for (let round = 0; round <= 4; round++) {
      for (const [i, rig] of both.entries()) {
        const count = await countInstructions(rig.pid, () => rig.run(delivery.counted));
        if (round > 0) leasts[i] = Math.min(leasts[i]!, count.instructions / count.result.units);
      }
    }
  } finally {
    await Promise.all(both.map((rig) => rig.end()));
    for (const rig of both) forgetCallgrind(rig.pid);
  }
  return leasts;
}

interface Filler {
  readonly memory: WebAssembly.Memory;
  _initialize?(): void;
  bench_fill(kind: number, bytes: number, hello: number, times: number): void;
}

const MIB = 1 << 20;
/** How often the limit is written over: its memory must not grow then. */
const TIMES = 5;

/** By core_memory.hpp, whose numbers these are. */
async function memory(): Promise<string> {
  const tree = thisTree();
  const module = load(tree.file("wasm_bench"));
  const inModule = (...numbers: [number, number, number, number]) => {
    const filler = new WebAssembly.Instance(module, {}).exports as unknown as Filler;
    filler._initialize?.();
    filler.bench_fill(...numbers);
    return filler.memory.buffer.byteLength;
  };
  const natively = (...numbers: number[]) =>
    Number(execFileSync(tree.file("core_bench"), ["--memory", ...numbers.map(String)], {}));
  const kinds = [
    { name: "change log", kind: 0, limit: 8 * MIB, sizes: [16, 100, 800] },
    { name: "history", kind: 1, limit: 16 * MIB, sizes: [200, 1000, 16_384] },
  ];
  const rows: string[][] = [];
  for (const { name, kind, limit, sizes } of kinds) {
    for (const size of sizes) {
      const cells = [natively, inModule].flatMap((of) => {
        const [plain, hello] = [of(kind, size, 0, TIMES), of(kind, size, 1, TIMES)];
        const more = hello! - plain!;
        return [`${(more / MIB).toFixed(1)} MiB`, ratio(more / limit)];
      });
      const pages = inModule(kind, size, 1, TIMES) / 65_536;
      const entry = kind === 0 ? `names of ${size} bytes` : `messages of ${size} bytes`;
      rows.push([`${name}, ${entry}`, `${limit / MIB} MiB`, ...cells, `${pages}`]);
    }
  }
  const head = ["full of", "limit", "native", "of the limit", "in WASM", "of the limit", "pages"];
  return `### Memory at the limits\n\n${table(head, rows)}`;
}

const ratio = (value: number) => value.toFixed(3);

runBench(main);
