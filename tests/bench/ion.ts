// How fast the readers are: JSON.parse, the reference's ION.parse and, if built, our reader in
// WASM, all on the same texts, which it also writes to a folder (NAME.ion) for the native program.
// Prints one line of JSON per figure. ion.ts FOLDER WASM MILLISECONDS
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import ION from "@covenant-rpc/ion";

const [folder, wasm, milliseconds] = process.argv.slice(2) as [string, string, string];

const todo = (id: number) => ({
  id,
  title: `Water the plants on floor ${id % 17}`,
  done: id % 3 === 0,
  tags: ["home", "weekly"],
  owner: { name: "Ada Lovelace", age: 36.5 },
});
const paragraph = "The quick brown fox jumps over the lazy dog, and nobody minds. ".repeat(16);

const texts: Record<string, unknown> = {
  "small message": {
    type: "send",
    token: "00000000-0000-4000-8000-000000000001",
    channel: "chat",
    params: { room: "lobby" },
    data: { text: "hello, everybody", at: 1738000000000 },
  },
  "10 KB object": Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`todo-${i}`, todo(i)])),
  "1 MB of objects": Array.from({ length: 8000 }, (_, i) => todo(i)),
  "1 MB of strings": Array.from({ length: 1000 }, (_, i) => `${i} ${paragraph}`),
};

function report(name: string, reader: string, value: number, unit: string): void {
  console.log(JSON.stringify({ name, reader, value, unit }));
}

/**
 * Calls `work(times)` in growing portions for the given span after an equally long warm-up; returns
 * ns per time, the best of five.
 */
function nanoseconds(work: (times: number) => void): number {
  const span = Number(milliseconds) * 1e6;
  let times = 1;
  const take = () => {
    const start = process.hrtime.bigint();
    work(times);
    return Number(process.hrtime.bigint() - start);
  };
  while (take() < span / 5 && times < 1e8) times *= 2;
  return Math.min(...Array.from({ length: 5 }, take)) / times;
}

type Bench = {
  memory: WebAssembly.Memory;
  _initialize?(): void;
  sidekick_buffer(size: number): number;
  /** Reads the text `times` times; returns 0, or another number if it is rejected. */
  bench_ion(at: number, size: number, times: number): number;
  /** Optional: handles `times` `send` frames; publishes `times` times to one subscriber. */
  bench_send?(times: number): void;
  bench_publish?(times: number): void;
};

function load(): Bench | undefined {
  if (!existsSync(wasm))
    return void console.error(`bench: without our reader in WASM: ${wasm} is not built`);
  const bench = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(wasm)), {})
    .exports as unknown as Bench;
  bench._initialize?.();
  return bench;
}

mkdirSync(folder, { recursive: true });
const bench = load();
for (const [name, value] of Object.entries(texts)) {
  const text = ION.stringify(value as never);
  const bytes = Buffer.from(text);
  writeFileSync(`${folder}/${name}.ion`, bytes);
  const speed = (ns: number) => (bytes.length / ns) * 1e3; // bytes per ns -> MB/s
  let kept: unknown; // so that no engine may skip the work
  report(
    name,
    "JSON.parse",
    speed(
      nanoseconds((times) => {
        for (let i = 0; i < times; i++) kept = JSON.parse(text);
      }),
    ),
    "MB/s",
  );
  report(
    name,
    "reference ION.parse",
    speed(
      nanoseconds((times) => {
        for (let i = 0; i < times; i++) kept = ION.parse(text);
      }),
    ),
    "MB/s",
  );
  void kept;
  if (!bench) continue;
  const at = bench.sidekick_buffer(bytes.length);
  new Uint8Array(bench.memory.buffer, at, bytes.length).set(bytes);
  const ns = nanoseconds((times) => {
    if (bench.bench_ion(at, bytes.length, times) !== 0)
      throw new Error(`our reader rejected ${folder}/${name}.ion`);
  });
  report(name, "WASM", speed(ns), "MB/s");
}
if (bench?.bench_send)
  report(
    "one send frame",
    "WASM",
    nanoseconds((times) => bench.bench_send!(times)),
    "ns",
  );
if (bench?.bench_publish)
  report(
    "one publish",
    "WASM",
    nanoseconds((times) => bench.bench_publish!(times)),
    "ns",
  );
