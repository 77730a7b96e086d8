// The core's daily work in WASM, as core_bench measures it natively, and the cost that the
// JavaScript border adds. core-bench.ts [BENCH.wasm [MODULE.wasm]]   prints one line of JSON per
// figure
import { existsSync, readFileSync } from "node:fs";
import { compileModuleSync, Hub } from "../../worker/src/module/index.js";

const [benchFile = "build/sidekick.bench.wasm", moduleFile = "worker/module/sidekick.wasm"] =
  process.argv.slice(2);
const spanNs = 40e6;
const tries = 7;
const warmUpMs = 300;

const elapsed = (work: () => void): number => {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
};
const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);

/**
 * ns per input of each phase: the best of several tries; the phases run in turn, `batch` inputs
 * each.
 */
function measure(batch: number, phases: (() => void)[]): number[] {
  const spend = (rounds: number): number[] => {
    const spent = phases.map(() => 0);
    for (let i = 0; i < rounds; i++)
      for (const [at, phase] of phases.entries()) spent[at]! += elapsed(phase);
    return spent;
  };
  // engines compile in the background meanwhile
  for (const start = Date.now(); Date.now() - start < warmUpMs; ) spend(1);
  let rounds = 1;
  while (sum(spend(rounds)) < spanNs) rounds *= 2;
  const best = Array.from({ length: tries }, () => spend(rounds)).reduce((a, b) =>
    sum(a) <= sum(b) ? a : b,
  );
  return best.map((ns) => ns / batch / rounds);
}

function report(reader: string, names: string[], values: number[]): void {
  const rows = names.map((name, at) => [name, values[at]!] as const);
  if (names[0] === "send frame alone") rows.unshift(["one send frame", sum(values)]);
  for (const [name, value] of rows)
    console.log(JSON.stringify({ name, reader, value, unit: "ns" }));
}

interface Bench {
  memory: WebAssembly.Memory;
  _initialize?(): void;
  bench_work_count(): number;
  bench_batch(work: number): number;
  bench_phase_count(work: number): number;
  bench_phase_name(work: number, phase: number): number;
  bench_phase(work: number, phase: number): void;
}

function measureInside(file: string): void {
  const bench = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), {})
    .exports as unknown as Bench;
  bench._initialize?.();
  const text = (address: number) => {
    const bytes = new Uint8Array(bench.memory.buffer, address);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  };
  for (let work = 0; work < bench.bench_work_count(); work++) {
    const batch = bench.bench_batch(work); // also sets the work up
    const phases = Array.from({ length: bench.bench_phase_count(work) }, (_, phase) => phase);
    const values = measure(
      batch,
      phases.map((phase) => () => bench.bench_phase(work, phase)),
    );
    report(
      "WASM",
      phases.map((phase) => text(bench.bench_phase_name(work, phase))),
      values,
    );
  }
}

/**
 * The same `send` and publish as in core_work.hpp, with frames and bodies that start as JavaScript
 * bytes.
 */
function measureThroughHub(file: string): void {
  const hub = Hub.create(
    compileModuleSync(readFileSync(file)),
    JSON.stringify({ secrets: ["benchmark-secret"] }),
  );
  const now = 1_700_000_000_000;
  const batch = 64;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const post = (path: string, body: Uint8Array) =>
    hub.handle(now, {
      type: "http_request",
      request: 1,
      body_bytes: body.length,
      method: "POST",
      path,
      authorization: "Bearer benchmark-secret",
      headers: "",
      body,
    });
  const clients = Array.from({ length: batch }, (_, client) => client);
  const token = (client: number) => `00000000-0000-4000-8000-${String(client).padStart(12, "0")}`;
  const scope = `"channel": "chat", "params": { "room": "lobby" }`;
  for (const client of clients) {
    hub.handle(now, { type: "client_opened", client });
    post(
      "/connection",
      bytes(`{ "token": "${token(client)}", ${scope}, "context": { "user": "ada" } }`),
    );
  }
  const forwards = clients.map(() => 0);
  const frames = clients.map((client) =>
    bytes(
      `{ "type": "send", "token": "${token(client)}", ${scope}, ` +
        `"data": { "text": "hello, everybody", "at": 1738000000000 } }`,
    ),
  );
  const none = new Uint8Array(0);
  const send = () => {
    for (const client of clients) {
      const forward = hub
        .handle(now, { type: "client_frame", client, bytes: frames[client]!, is_text: 1 })
        .find((action) => action.type === "forward");
      if (forward?.type !== "forward") throw new Error("expected a forward");
      forwards[client] = forward.forward;
    }
  };
  const answer = () => {
    for (const forward of forwards)
      hub.handle(now, { type: "forward_done", forward, status: 204, body: none, outcome: 0 });
  };
  report(
    "through Hub.handle",
    ["send frame alone", "its answer (204) alone"],
    measure(batch, [send, answer]),
  );

  hub.handle(now, {
    type: "client_frame",
    client: 0,
    bytes: bytes(`{ "type": "subscribe", "token": "${token(0)}" }`),
    is_text: 1,
  });
  const body = bytes(`{ ${scope}, "data": { "text": "${"x".repeat(150)}" } }`);
  report(
    "through Hub.handle",
    ["one publish"],
    measure(batch, [
      () => {
        for (const _ of clients) post("/message", body);
      },
    ]),
  );
}

if (existsSync(benchFile)) measureInside(benchFile);
else console.error(`core-bench: without the work in WASM: ${benchFile} is not built`);
measureThroughHub(moduleFile);
