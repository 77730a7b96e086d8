// The table and the chart of `scripts/bench --peers`.
import { chart } from "./chart.js";
import { figure, table } from "./tables.js";

/** One measured quantity of all servers. The first server is our native one. */
export interface Column {
  name: string;
  unit: string;
  values: readonly number[];
}

export function comparison(labels: readonly string[], columns: readonly Column[]): string {
  return table(
    ["", ...columns.map(({ name, unit }) => `${name}, ${unit}`)],
    labels.map((label, i) => [
      label,
      ...columns.map(({ values }) => {
        const ratio = values[i]! / values[0]!;
        return `${figure(values[i]!)} (${figure(ratio)})`;
      }),
    ]),
  );
}

/** Of the first and the last column: CPU of a delivered message and memory. */
export function chartOf(labels: readonly string[], columns: readonly Column[]): string {
  const panel = (title: string, { values }: Column) => ({
    title,
    bars: labels.map((label, i) => ({
      label,
      value: values[i]!,
      isOurs: label.startsWith("Sidekick"),
    })),
  });
  return chart(
    "CPU and memory of Sidekick and other servers",
    "Two bar charts, shorter is better. docs/performance.md has the figures as a table.",
    [
      panel("CPU of a delivered message, µs (100 listeners)", columns[0]!),
      panel("Memory of an idle listener, KB", columns.at(-1)!),
    ],
  );
}
