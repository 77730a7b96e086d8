// scripts/bench --against COMMIT: compares the products of a commit with those of this tree, side
// by side. Counted rows are exact; measured rows give the median ratio of pairs, with its interval.
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { buildDrivers } from "../compile.js";
import { machine, misuse, progress, runBench } from "../processes.js";
import { missingCallgrind } from "./callgrind.js";
import {
  commitOf,
  commitSide,
  headOf,
  isDirty,
  type Product,
  type Side,
  thisTree,
} from "./commit.js";
import { countCore, timeCore } from "./core.js";
import { countHost, hostProblem, hostProducts, measureHost } from "./hosts.js";
import {
  counted,
  type Judgement,
  judgement,
  lineOf,
  measured,
  type Result,
  tables,
} from "./report.js";
import {
  type CoreArea,
  coreAreas,
  coreNames,
  type HostArea,
  hostAreas,
  hostRows,
  type Measure,
  memoryRows,
  type RowId,
  textOf,
} from "./rows.js";
import { confidence } from "./statistics.js";

const options = readOptions();

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        against: { type: "string" },
        rows: { type: "string", multiple: true },
        pairs: { type: "string", default: "15" },
        gate: { type: "string", default: "1.05" },
        list: { type: "boolean", default: false },
      },
    });
    if (!/^[1-9]\d{0,2}$/.test(values.pairs))
      throw new Error(`--pairs: expected 1 to 999, got ${values.pairs}`);
    const gate = Number(values.gate);
    if (!(gate >= 0.1 && gate <= 10))
      throw new Error(`--gate: expected a ratio such as 1.05, got ${values.gate}`);
    const patterns = (values.rows ?? [""]).map((pattern) => new RegExp(pattern, "i"));
    return {
      ...values,
      against: commitOf(values.against ?? ""),
      gate,
      pairs: Number(values.pairs),
      wanted: (row: RowId) => patterns.some((pattern) => pattern.test(textOf(row))),
    };
  } catch (error) {
    misuse(error as Error);
  }
}

/** Rows that are measured together. */
interface Group {
  readonly rows: readonly RowId[];
  readonly products: readonly Product[];
  /** A missing program is an error, not a reason to leave rows out. */
  missingTool?(): string | undefined;
  /** The reason it cannot be measured here, if any. */
  missing?(sides: Sides): Promise<string | undefined>;
  run(sides: Sides, rows: readonly RowId[]): Promise<Result[]>;
}
type Sides = { readonly before: Side; readonly now: Side };

const coreProduct: Record<CoreArea, Product> = {
  "core, native": "core_bench",
  "core in WASM": "wasm_bench",
  module: "module",
};

const pairsOf = (rows: readonly RowId[]) =>
  new Map(rows.map((row) => [row.name, [] as { before: number; now: number }[]]));

function coreGroups(area: CoreArea): Group[] {
  const rows = (measure: "instructions" | "CPU") =>
    coreNames(area).map((name) => ({ area, measure, name }));
  return [
    {
      rows: rows("instructions"),
      products: [coreProduct[area]],
      missingTool: missingCallgrind,
      run: async ({ before, now }, rows) => {
        progress(`${area}: counting instructions`);
        const names = rows.map((row) => row.name);
        // In parallel: a count does not depend on other load.
        const [old, fresh] = await Promise.all([
          countCore(before, area, names),
          countCore(now, area, names),
        ]);
        return rows.map((row) => counted(row, old.get(row.name)!, fresh.get(row.name)!));
      },
    },
    {
      rows: rows("CPU"),
      products: [coreProduct[area]],
      run: async ({ before, now }, rows) => {
        const names = rows.map((row) => row.name);
        const pairs = pairsOf(rows);
        for (let pair = 1; pair <= options.pairs; pair++) {
          progress(`${area}: pair ${pair} of ${options.pairs}`);
          const isSwapped = pair % 2 === 0;
          const times = await timeCore(isSwapped ? [now, before] : [before, now], area, names);
          for (const [name, [first, second]] of times) {
            pairs
              .get(name)!
              .push(
                isSwapped ? { before: second!, now: first! } : { before: first!, now: second! },
              );
          }
        }
        return rows.map((row) => measured(row, "unit", pairs.get(row.name)!));
      },
    },
  ];
}

function hostGroups(area: HostArea): Group[] {
  const rowsOf = (measure: Measure, names: readonly string[]) =>
    names.map((name): RowId => ({ area, measure, name }));
  const timed: Group = {
    rows: [...rowsOf("CPU", [...hostRows.keys()]), ...rowsOf("memory", memoryRows)],
    products: hostProducts[area],
    missing: async ({ before, now }) =>
      (await hostProblem(before, area)) ?? (await hostProblem(now, area)),
    run: async (sides, rows) => {
      const pairs = pairsOf(rows);
      for (let pair = 1; pair <= options.pairs; pair++) {
        progress(`${area}: pair ${pair} of ${options.pairs}`);
        const figures = await measureHost(sides, area, new Set(pairs.keys()), pair % 2 === 0);
        for (const [name, figure] of figures) pairs.get(name)!.push(figure);
      }
      return rows.map((row) =>
        measured(row, hostRows.get(row.name) ?? "connection", pairs.get(row.name)!),
      );
    },
  };
  if (area !== "native server") return [timed];
  const counting: Group = {
    rows: rowsOf("instructions", [...hostRows.keys()]),
    products: hostProducts[area],
    missingTool: missingCallgrind,
    run: async ({ before, now }, rows) => {
      const names = new Set(rows.map((row) => row.name));
      const pairs = pairsOf(rows);
      for (let pair = 1; pair <= options.pairs; pair++) {
        progress(`${area}: counting instructions, pair ${pair} of ${options.pairs}`);
        const [old, fresh] = await Promise.all([
          countHost(before, area, names),
          countHost(now, area, names),
        ]);
        for (const [name, list] of pairs) {
          list.push({ before: old.get(name)!, now: fresh.get(name)! });
        }
      }
      return rows.map((row) => measured(row, hostRows.get(row.name)!, pairs.get(row.name)!));
    },
  };
  return [counting, timed];
}

const groups: Group[] = [...coreAreas.flatMap(coreGroups), ...hostAreas.flatMap(hostGroups)];

async function main(): Promise<void> {
  const chosen = groups
    .map((group) => ({ group, rows: group.rows.filter(options.wanted) }))
    .filter(({ rows }) => rows.length > 0);
  if (chosen.length === 0)
    throw new Error(`--rows: no row matches ${options.rows!.join(" or ")}; --list prints them all`);
  if (options.list) return console.log(chosen.flatMap(({ rows }) => rows.map(textOf)).join("\n"));

  const products = new Set(chosen.flatMap(({ group }) => group.products));
  const now = thisTree();
  await now.build(products);
  if (now.missing.size > 0) throw new Error(`this tree: ${[...now.missing.values()].join("; ")}`);
  const before = commitSide(options.against);
  await before.build(products);
  await buildDrivers();

  const tools = new Set(chosen.map(({ group }) => group.missingTool?.()).filter(Boolean));
  if (tools.size > 0) throw new Error([...tools].join("; "));
  const sides = { before, now };
  const results: Result[] = [];
  const without: string[] = [];
  for (const { group, rows } of chosen) {
    const product = group.products.find((product) => before.missing.has(product));
    let reason = product
      ? `${product} of the commit: ${before.missing.get(product)}`
      : await group.missing?.(sides);
    if (reason === undefined) {
      try {
        const measured = await group.run(sides, rows);
        // At once: a later failure must not cost them.
        for (const result of measured) progress(lineOf(result, options.gate));
        results.push(...measured);
      } catch (error) {
        reason = (error as Error).message;
        process.exitCode = 1;
      }
    }
    if (reason !== undefined) {
      without.push(`Not measured: ${rows.map(textOf).join("; ")}. Reason: ${reason}`);
    }
  }
  console.log(
    [
      heading(before),
      tables(results, options.gate),
      conclusion(results, [...before.notes, ...without]),
    ]
      .filter(Boolean)
      .join("\n\n"),
  );
  progress("done");
  if (results.some((result) => judgement(result, options.gate) === "worse")) process.exitCode = 1;
}

function heading(before: Side): string {
  const command = ["scripts/bench", ...process.argv.slice(2)].join(" ");
  return [
    `\`${command}\`: before ${before.commit}, now ${headOf()}${isDirty() ? " with changes" : ""}.`,
    `${machine()}; load average at the end ${loadavg()[0]!.toFixed(1)}.`,
  ].join(" ");
}

function conclusion(results: readonly Result[], notes: readonly string[]): string {
  const { gate, pairs } = options;
  const lines = [...notes];
  const names = (wanted: Judgement) =>
    results.filter((result) => judgement(result, gate) === wanted).map(textOf);
  const intervals = results.flatMap((result) => result.interval ?? []);
  if (intervals.length > 0) {
    const { coverage } = intervals[0]!;
    const percent = (100 * coverage).toFixed(1);
    const few = coverage < confidence ? `; too few pairs for ${100 * confidence} %` : "";
    lines.push(
      `Rows with an interval: the median of the ratios of ${pairs} pairs, and its ` +
        `distribution-free interval (order statistics, ${percent} %${few}).`,
    );
    const outside = intervals.filter(({ low, high }) => low > 1 || high < 1).length;
    const expected = ((1 - coverage) * intervals.length).toFixed(1);
    lines.push(
      `${outside} of ${intervals.length} intervals do not contain 1; ` +
        `for equal commits ${expected} are expected by chance.`,
    );
  }
  const undecided = names("undecided");
  if (undecided.length > 0) {
    lines.push(
      `Undecided: the interval contains ${gate}; more --pairs narrow it: ${undecided.join("; ")}.`,
    );
  }
  const worse = names("worse");
  if (worse.length > 0) lines.push(`WORSE than ${gate}: ${worse.join("; ")}.`);
  else lines.push(`No row is worse than ${gate}.`);
  return lines.join("\n\n");
}

runBench(main);
