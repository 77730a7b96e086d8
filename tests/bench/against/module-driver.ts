// Runs the work of one commit's WASM on command, as `core_bench --driven` does natively;
// core_driven.hpp lists the commands. Each module has a process of its own: an engine that has
// loaded two modules calls both more slowly.
//   module-driver.ts module MODULE.wasm   the module that ships, through its C ABI
//   module-driver.ts core BENCH.wasm      the core alone in WASM (core_bench_wasm.cpp)
import { readSync, writeSync } from "node:fs";
import { load, ModuleHub } from "./border.js";
import { works } from "./module-work.js";

type Run = (rounds: number) => number;

interface BenchExports {
  readonly memory: WebAssembly.Memory;
  _initialize?(): void;
  sidekick_buffer(size: number): number;
  bench_ion(text: number, size: number, times: number): number;
  bench_work_count(): number;
  bench_batch(work: number): number;
  bench_phase_count(work: number): number;
  bench_phase_name(work: number, phase: number): number;
  bench_phase(work: number, phase: number): void;
}

const [kind, file] = process.argv.slice(2);
const runs = kind === "module" ? moduleRuns() : coreRuns();

function moduleRuns(): Map<string, () => Run> {
  const module = load(file!);
  return new Map(
    Object.entries(works).map(([name, make]) => [
      name,
      () => {
        const round = make(new ModuleHub(module));
        return (rounds) => {
          let units = 0;
          for (let i = 0; i < rounds; i++) units += round();
          return units;
        };
      },
    ]),
  );
}

function coreRuns(): Map<string, () => Run> {
  const bench = new WebAssembly.Instance(load(file!), {}).exports as unknown as BenchExports;
  bench._initialize?.();
  const nameOf = (work: number, phase: number) => {
    const bytes = new Uint8Array(bench.memory.buffer, bench.bench_phase_name(work, phase));
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  };
  const made = new Map<string, () => Run>();
  // The names of the works that core_driven.hpp gives.
  for (let work = 0; work < bench.bench_work_count(); work++) {
    const phases = Array.from({ length: bench.bench_phase_count(work) }, (_, phase) => phase);
    const names = phases.map((phase) => nameOf(work, phase));
    const name = names[0] === "send frame alone" ? "one send frame" : names.join(", ");
    made.set(name, () => (rounds) => {
      for (let i = 0; i < rounds; i++) for (const phase of phases) bench.bench_phase(work, phase);
      return rounds * bench.bench_batch(work);
    });
  }
  for (const [name, text] of Object.entries(texts())) {
    made.set(name, () => {
      const bytes = new TextEncoder().encode(text);
      const at = bench.sidekick_buffer(bytes.length);
      new Uint8Array(bench.memory.buffer, at, bytes.length).set(bytes);
      return (rounds) => {
        if (bench.bench_ion(at, bytes.length, rounds) !== 0)
          throw new Error(`the reader refused ${name}`);
        return rounds;
      };
    });
  }
  return made;
}

/** The texts of core_bench.cpp. */
function texts(): Record<string, string> {
  const todo = (id: number) =>
    `{ "id": ${id}, "title": "Water the plants on floor ${id % 17}", "done": ${id % 3 === 0}, ` +
    `"tags": ["home", "weekly"], "owner": { "name": "Ada Lovelace", "age": 36.5 } }`;
  const todos = Array.from({ length: 8000 }, (_, id) => todo(id));
  const named = todos.slice(0, 80).map((text, id) => `"todo-${id}": ${text}`);
  return {
    "read small message":
      `{ "type": "send", "token": "00000000-0000-4000-8000-000000000001", "channel": "chat", ` +
      `"params": { "room": "lobby" }, ` +
      `"data": { "text": "hello, everybody", "at": 1738000000000 } }`,
    "read 10 KB object": `{ ${named.join(", ")} }`,
    "read 1 MB of objects": `[${todos.join(", ")}]`,
  };
}

/** CPU time of this process; Node runs with --single-threaded, so it is the work's. */
function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const made = new Map<string, Run>();
const buffer = Buffer.alloc(4096);
for (;;) {
  const size = readSync(0, buffer); // one command at a time: the other side waits for the answer
  if (size === 0) break;
  const command = buffer.toString("utf8", 0, size).trim();
  writeSync(1, `${JSON.stringify(answer(command))}\n`);
}

function answer(command: string): unknown {
  if (command === "list") return [...runs.keys()];
  const [, rounds, name] = /^run ([1-9]\d*) (.+)$/.exec(command) ?? [];
  const make = runs.get(name ?? "");
  if (make === undefined) throw new Error(`expected "list" or "run ROUNDS NAME", got "${command}"`);
  const run = made.get(name!) ?? make();
  made.set(name!, run);
  const began = cpuMicroseconds();
  const units = run(Number(rounds));
  return { units, cpu_us: (cpuMicroseconds() - began) / units };
}
