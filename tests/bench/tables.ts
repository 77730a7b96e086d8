// The tables of the bench programs, and their places in docs/performance.md.
import { readFileSync, writeFileSync } from "node:fs";

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join(
    "\n",
  );
}

export function figure(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const page = "docs/performance.md";

/** Puts a report between `<!-- NAME:start -->` and `<!-- NAME:end -->` of docs/performance.md. */
export function writeReport(name: string, report: string): void {
  writeFileSync(page, replaced(readFileSync(page, "utf8"), name, report));
}

export function replaced(text: string, name: string, report: string): string {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(
      `${page}: expected ${start} and ${end}, in this order; put them back where the tables belong`,
    );
  return `${text.slice(0, from + start.length)}\n\n${wrapped(report)}\n\n${text.slice(to)}`;
}

/** As all prose of the docs: at column 100. */
function wrapped(report: string): string {
  const lines = report.split("\n").map((line) => {
    if (/^[|#]/.test(line)) return line;
    return line.split(" ").reduce((done, word) => {
      const last = done.slice(done.lastIndexOf("\n") + 1);
      return last.length + 1 + word.length <= 100 ? `${done} ${word}` : `${done}\n${word}`;
    });
  });
  return lines.join("\n");
}
