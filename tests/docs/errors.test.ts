// The error texts in docs/protocol.md are those of the core.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

test("docs/protocol.md shows error texts that the core sends", () => {
  const page = readFileSync(join(root, "docs/protocol.md"), "utf8");
  const rows = page.split("\n| fault | message | cause |\n")[1]!.split("\n\n")[0]!.split("\n");
  const texts = rows.flatMap((row) =>
    [...(row.split(" | ")[1] ?? "").matchAll(/`([^`]+)`/g)].map(([, text]) => text!),
  );
  assert.ok(texts.length > 10, `found only ${texts.length} texts`);
  const source = literals();
  for (const text of texts) {
    const pieces = text
      .split(/(?<=ION: )|\.\.\.|\(name_of_the_limit\)|\b[NM]\b/)
      .map((it) => it.trim());
    for (const piece of pieces.filter((it) => it !== "" && it !== ";"))
      assert.ok(source.includes(piece), `no text of the core has "${piece}" (of "${text}")`);
  }
});

/**
 * The string literals of the core, joined where the compiler joins them, with members as docs show
 * them.
 */
function literals(): string {
  const folder = join(root, "core/src");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const sources = files.filter((file) => file.endsWith(".cpp") || file.endsWith(".hpp"));
  const all = sources.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
  return all
    .replace(/"\s*\n\s*"/g, "")
    .replaceAll('\\"', '"')
    .replaceAll('"%"', '"token"') // as the page's examples fill them in
    .replaceAll('missing member "token"; expected %', 'missing member "token"; expected a string')
    .replaceAll('"token" must be %, found %', '"token" must be a string, found a number');
}
