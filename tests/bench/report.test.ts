// The tables and the chart that the bench programs write into the docs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chart } from "./chart.ts";
import { chartOf, comparison } from "./peers-report.ts";
import { figure, replaced, table } from "./tables.ts";

test("a figure has three significant digits, or all before the point", () => {
  assert.deepEqual([0.876, 9.99, 10, 99.94, 100, 12_345.6].map(figure), [
    "0.88",
    "9.99",
    "10.0",
    "99.9",
    "100",
    "12346",
  ]);
});

test("a table aligns all columns but the first to the right", () => {
  assert.equal(table(["", "a"], [["x", "1"]]), "|  | a |\n| --- | ---: |\n| x | 1 |");
});

test("a report replaces what is between its own markers, and nothing else", () => {
  const page =
    "top\n<!-- a:start -->\n\nold\n\n<!-- a:end -->\nmiddle\n<!-- b:start -->\n<!-- b:end -->\n";
  const once = replaced(page, "a", "new");
  assert.equal(once, page.replace("old", "new"));
  assert.equal(replaced(once, "a", "new"), once);
});

test("the prose of a report ends at column 100, its tables and titles do not", () => {
  const word = "x".repeat(49);
  const long = `${word} ${word}x`; // 100 columns
  const written = (report: string) =>
    replaced("<!-- a:start --><!-- a:end -->", "a", report).split("\n").slice(2, -2);
  assert.deepEqual(written(`${long} ${long}y\n| ${long} ${long} |\n# ${long} ${long}`), [
    long,
    word,
    `${word}xy`,
    `| ${long} ${long} |`,
    `# ${long} ${long}`,
  ]);
});

test("a page without the markers, or with the end first, is not written", () => {
  const error = /expected <!-- a:start --> and <!-- a:end -->, in this order/;
  assert.throws(() => replaced("<!-- b:start --><!-- b:end -->", "a", ""), error);
  assert.throws(() => replaced("<!-- a:end --><!-- a:start -->", "a", ""), error);
});

const labels = ["Sidekick, native", "Other"];
const columns = [
  { name: "fan-out to 100", unit: "us", values: [4, 10] },
  { name: "fan-out to 1,000", unit: "us", values: [8, 6] },
  { name: "idle listener", unit: "KB", values: [0.5, 40] },
];

test("a comparison shows each value with its ratio to the first server", () => {
  assert.deepEqual(comparison(labels, columns).split("\n"), [
    "|  | fan-out to 100, us | fan-out to 1,000, us | idle listener, KB |",
    "| --- | ---: | ---: | ---: |",
    "| Sidekick, native | 4.00 (1.00) | 8.00 (1.00) | 0.50 (1.00) |",
    "| Other | 10.0 (2.50) | 6.00 (0.75) | 40.0 (80.0) |",
  ]);
});

/** Of a chart: the texts, and the bars with class and width. */
const parsed = (svg: string) => ({
  texts: [...svg.matchAll(/<text class="(\w+)"[^>]*>([^<]*)</g)].map(([, kind, text]) => [
    kind,
    text,
  ]),
  bars: [...svg.matchAll(/<rect class="(ours|other)" x="([\d.]+)" [^>]*?width="([\d.]+)"/g)].map(
    ([, kind, x, width]) => ({ kind, end: Number(x) + Number(width), width: Number(width) }),
  ),
});

test("the chart shows the first and the last column, with ours marked", () => {
  const { texts, bars } = parsed(chartOf(labels, columns));
  assert.deepEqual(
    texts.filter(([kind]) => kind !== "title"),
    [
      ["label", "Sidekick, native"],
      ["value", "4.0"],
      ["label", "Other"],
      ["value", "10.0"],
      ["label", "Sidekick, native"],
      ["value", "0.5"],
      ["label", "Other"],
      ["value", "40.0"],
    ],
  );
  assert.deepEqual(
    bars.map(({ kind }) => kind),
    ["ours", "other", "ours", "other"],
  );
});

test("bars have the ratio of their values, and the smallest can be seen", () => {
  const bar = (value: number) => ({ label: "x", value, isOurs: false });
  const { bars } = parsed(chart("t", "d", [{ title: "p", bars: [1, 2, 4, 0.001].map(bar) }]));
  const [one, two, four, tiny] = bars.map(({ width }) => width) as [number, number, number, number];
  assert.ok(Math.abs(two / one - 2) < 0.01, `${two} : ${one}`);
  assert.ok(Math.abs(four / two - 2) < 0.01, `${four} : ${two}`);
  assert.ok(tiny >= 1, `${tiny}`);
});

test("the chart has a title and a description, and escapes what it is given", () => {
  const svg = chart('a & "b"', "<c>", [
    { title: "d > e", bars: [{ label: "<f>", value: 1, isOurs: true }] },
  ]);
  assert.match(svg, /^<svg [^>]*role="img" aria-labelledby="title desc"\s/);
  assert.match(svg, /<title id="title">a &#38; &#34;b&#34;<\/title>/);
  assert.match(svg, /<desc id="desc">\s&#60;c&#62;\s<\/desc>/);
  assert.match(svg, />d &#62; e</);
  assert.match(svg, />&#60;f&#62;</);
});
