// scripts/bench: every server under test side by side in one run. Rounds are interleaved (ABCABC)
// and medians are taken. The result is the ratio to the reference in the same run: seconds depend
// on the machine, ratios do not.
import { parseArgs } from "node:util";
import { bundle, compile } from "./compile.js";
import { ionTable } from "./ion-table.js";
import { type Figure, type Held, measure, measureMemory } from "./measure.js";
import { machine, misuse, progress, runBench } from "./processes.js";
import { memoryScenarios, scenarios } from "./scenarios.js";
import { figure, table, writeReport } from "./tables.js";
import { built, bunVersion, isThere, type Target, targets } from "./targets.js";

const options = readOptions();
const rounds = Number(options.rounds ?? (options.quick ? 2 : 5));

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true },
        target: { type: "string", multiple: true },
        rounds: { type: "string" },
        write: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
      },
    });
    const stranger = values.target?.find((id) => !targets.some((target) => target.id === id));
    if (stranger !== undefined)
      throw new Error(
        `--target: expected one of ${targets.map((t) => t.id).join(", ")}, got ${stranger}`,
      );
    if (values.rounds !== undefined && !/^[1-9]\d?$/.test(values.rounds))
      throw new Error(`--rounds: expected 1 to 99, got ${values.rounds}`);
    return values;
  } catch (error) {
    misuse(error as Error);
  }
}

async function main(): Promise<void> {
  const wanted = (name: string) =>
    !options.only || options.only.some((part) => name.includes(part));
  const speed = scenarios(options.quick).filter((s) => wanted(s.name));
  const memory = memoryScenarios(options.quick).filter((s) => wanted(s.name));
  const names = [
    ...speed.map((s) => s.name),
    ...memory.map((s) => s.name),
    ...(wanted("ion") ? ["ion"] : []),
  ];
  if (names.length === 0)
    throw new Error(
      `--only: no scenario has ${options.only!.join(" or ")} in its name; see scripts/bench --list`,
    );
  if (options.list) return console.log(names.join("\n"));

  await build();
  const running = targets
    .filter((t) => (options.target ? options.target.includes(t.id) : t.beside === undefined))
    .filter(isThere);
  if (running.length === 0) throw new Error("none of the requested servers can run here");
  const parts: string[] = [];
  // Prints at once: a later failure must not lose these figures.
  const show = (part: string) => console.log(`${parts.push(part) > 1 ? "\n" : ""}${part}`);
  show(facts());
  const figures: Figure[] = [];
  for (const scenario of speed) figures.push(...(await measure(scenario, running, rounds)));
  if (figures.length > 0)
    [cpuTable(figures, running), latencyTable(figures, running)].forEach(show);
  const held: Held[] = [];
  for (const scenario of memory) held.push(await measureMemory(scenario, running));
  if (held.length > 0) show(memoryTable(held, running));
  if (wanted("ion")) show(ionTable(options.quick, progress));
  if (options.write) {
    writeReport("bench", parts.join("\n\n"));
    progress("wrote docs/performance.md");
  }
  progress("done");
}

async function build(): Promise<void> {
  progress("building the load generator, the floors and the reference");
  await compile("tests/bench/load.cpp", `${built}/load`);
  await compile("tests/bench/floor.cpp", `${built}/floor_cpp`);
  for (const name of ["reference", "floor", "ion"]) bundle(`tests/bench/${name}.ts`, name);
}

// ---- printing ----

function cpuTable(figures: Figure[], running: Target[]): string {
  const byId = (id: string) => running.find((t) => t.id === id);
  const [ours, reference, wasmtime, native] = [
    byId("ours"),
    byId("reference"),
    byId("wasmtime"),
    byId("native"),
  ];
  const ratios: number[] = [];
  const recording = running.flatMap((t) =>
    t.beside && byId(t.beside)
      ? [{ with: t, without: byId(t.beside)!, ratios: [] as number[] }]
      : [],
  );
  const rows = figures.map(({ row, by }) => {
    const ratio = (t: Target | undefined, to: Target | undefined) =>
      t && to && by.has(t) && by.has(to) ? by.get(t)!.cpu_us / by.get(to)!.cpu_us : undefined;
    const cells = running.map((t) => {
      const cpu = by.get(t)?.cpu_us;
      const share = t === reference ? undefined : ratio(t, reference);
      return cpu === undefined
        ? ""
        : share === undefined
          ? figure(cpu)
          : `${figure(cpu)} (${share.toFixed(2)})`;
    });
    const verdicts = Object.entries(row.aims ?? {}).flatMap(([id, aim]) => {
      const got = ratio(byId(id), reference);
      if (got === undefined) return [];
      const verdict = got <= aim ? "met" : `missed by ${(got - aim).toFixed(2)}`;
      return [`${id === "ours" ? "Node" : id} ${aim} ${verdict}`];
    });
    const sandbox = ratio(wasmtime, native);
    if (sandbox !== undefined) ratios.push(sandbox);
    const added = recording.map((pair) => {
      const times = ratio(pair.with, pair.without)!;
      pair.ratios.push(times);
      return `${times.toFixed(2)}`;
    });
    return [row.name, row.unit, ...cells, sandbox?.toFixed(2) ?? "", ...added, verdicts.join(", ")];
  });
  const head = [
    "",
    "unit",
    ...running.map((t) => t.label),
    "wasmtime / native",
    ...recording.map((pair) => `${pair.with.label} / without`),
    "aim: share at most",
  ];
  const sandbox =
    ratios.length === 0
      ? ""
      : `\n\nOver the whole server, wasmtime costs ${geometricMean(ratios).toFixed(2)} of native ` +
        "(geometric mean of all rows; aim: at most 1.2).";
  const recorded = recording.map(
    (pair) =>
      `\n\nRecording: ${pair.with.label} costs ${geometricMean(pair.ratios).toFixed(2)} of the same ` +
      "without (geometric mean of all rows).",
  );
  return (
    `### CPU of the server, us per unit of work (share of the reference in Node)\n\n` +
    `${table(head, rows)}${sparseGrowth(figures, ours)}${sandbox}${recorded.join("")}`
  );
}

const geometricMean = (values: number[]) =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/** A sparse publish should cost the same however many other clients are connected. */
function sparseGrowth(figures: Figure[], ours: Target | undefined): string {
  const at = (sockets: number) =>
    ours &&
    figures
      .find(
        (f) => f.row.command.startsWith("invalidate") && f.row.name.includes(` ${sockets} sockets`),
      )
      ?.by.get(ours)?.cpu_us;
  const [few, many] = [at(10), at(5000)];
  return few && many
    ? `\n\nA sparse publish of the Node host at 5,000 sockets costs ` +
        `${(many / few).toFixed(2)} of one at 10 sockets (aim: at most 1).`
    : "";
}

function latencyTable(figures: Figure[], running: Target[]): string {
  const rows = figures.map(({ row, by }) => [
    row.name,
    ...running.map((t) =>
      by.has(t) ? `${figure(by.get(t)!.p50_us)} / ${figure(by.get(t)!.p99_us)}` : "",
    ),
    `${Math.round(100 * Math.max(...[...by.values()].map((m) => m.load_share)))} %`,
  ]);
  const head = ["", ...running.map((t) => t.label), "generator busy at most"];
  return `### Latency, us, p50 / p99, seen by the load generator\n\n${table(head, rows)}`;
}

function memoryTable(held: Held[], running: Target[]): string {
  const rows = held.map(({ scenario, kilobytes }) => [
    scenario.name,
    scenario.unit,
    ...running.map((t) => kilobytes.get(t)?.toFixed(2) ?? ""),
    scenario.aim,
  ]);
  const head = ["", "unit", ...running.map((t) => t.label), "aim"];
  return `### Memory, resident after a full garbage collection\n\n${table(head, rows)}`;
}

function facts(): string {
  const arguments_ = process.argv.slice(2).filter((argument) => argument !== "--write");
  return (
    `\`scripts/bench${arguments_.map((a) => ` ${a}`).join("")}\` on ` +
    `${new Date().toISOString().slice(0, 10)}: ` +
    `${[machine(), ...bunVersion()].join(", ")}; medians of ${rounds} rounds.`
  );
}

runBench(main);
