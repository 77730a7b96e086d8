// Our two readers and our printer against `@covenant-rpc/ion` from npm, on generated values and on
// mutated texts. ION_SEED=<number> and ION_COUNT=<number> repeat or lengthen a run.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import ION from "@covenant-rpc/ion";

import { asWePrint, type Difference, differences, intendedDifferences } from "./differences.js";
import { generateValue, mutate } from "./generate.js";
import { type Answer, checkNatively } from "./native.js";
import { Random } from "./random.js";

process.env["TZ"] = "UTC"; // the reference reads dates without an offset as local time

const seed = Number(process.env["ION_SEED"] ?? 1);
const count = Number(process.env["ION_COUNT"] ?? 20_000);
console.log(`ION_SEED=${seed} ION_COUNT=${count}`);

/** In a line of the corpus, \xNN is a byte. */
const bytesOf = (text: string) =>
  Buffer.concat(
    text
      .split(/(\\x[0-9a-f]{2})/)
      .map((part, i) => (i % 2 === 0 ? Buffer.from(part) : Buffer.from(part.slice(2), "hex"))),
  );

const corpus = ["accept", "reject"].flatMap((verdict) =>
  readFileSync(new URL(`corpus/${verdict}.txt`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const colon = line.indexOf(": ");
      return { name: `${verdict}_${line.slice(0, colon)}`, bytes: bytesOf(line.slice(colon + 2)) };
    }),
);

/** What the reference prints after reading the text; undefined: it rejects the text. */
function referenceReprint(bytes: Uint8Array): string | undefined {
  let value: unknown;
  try {
    value = ION.parse(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
  return ION.stringify(value);
}

/** The whole contract for one text. Returns the reason if we differ and are allowed to. */
function compare(
  bytes: Uint8Array,
  answer: Answer,
): { accepted: boolean; reasons: Set<Difference> } {
  const shown =
    `seed ${seed}, text ${JSON.stringify(Buffer.from(bytes).toString("latin1"))} ` +
    "(bytes as Latin-1)";
  const core = answer.core === "accept";
  assert.equal(
    core,
    answer.value === "accept",
    `our two readers disagree: the hub's says ${answer.core}, Value's ${answer.value}; ${shown}`,
  );
  const reference = referenceReprint(bytes);
  const reasons = reference === undefined ? new Set<Difference>() : intendedDifferences(bytes);
  const expected = reference !== undefined && reasons.size === 0;
  assert.equal(
    core,
    expected,
    `we say ${answer.core}, the reference ` +
      `${reference === undefined ? "rejects" : "accepts"}, intended: ` +
      `${[...reasons].join() || "nothing"}; ${shown}`,
  );
  if (reference !== undefined && core) assert.equal(answer.printed, asWePrint(reference), shown);
  return { accepted: core, reasons };
}

test("reads what the reference prints, and prints the same bytes", () => {
  const random = new Random(seed);
  const texts = Array.from({ length: count / 4 }, () =>
    asWePrint(ION.stringify(generateValue(random))),
  );
  const answers = checkNatively(texts.map((text) => Buffer.from(text)));
  texts.forEach((text, i) => {
    assert.equal(answers[i]?.core, "accept", `seed ${seed}, text ${text}`);
    assert.equal(answers[i]?.value, "accept", `seed ${seed}, text ${text}`);
    assert.equal(answers[i]?.printed, text, `seed ${seed}`);
  });
});

test("white space between tokens does not matter", () => {
  const random = new Random(seed + 1);
  const space = (): string => random.pick(["", "", " ", "\n", "\r\n\t", "   "]);
  const texts = Array.from({ length: count / 4 }, () =>
    asWePrint(ION.stringify(generateValue(random))),
  );
  const spaced = texts.map((text) =>
    text.replace(/"(?:[^"\\]|\\.)*"|date:[^ ,}\]]*|[{}[\],:]/gs, (token) =>
      token.length === 1 ? space() + token + space() : token,
    ),
  );
  const bytes = spaced.map((text) => Buffer.from(text));
  checkNatively(bytes).forEach((answer, i) => {
    compare(bytes[i]!, answer);
    assert.equal(answer.printed, texts[i], `seed ${seed}`);
  });
});

test("both read a lone surrogate that UTF-8 turned into U+FFFD as U+FFFD", () => {
  const random = new Random(seed + 2);
  const texts = Array.from({ length: count / 10 }, () =>
    Buffer.from(ION.stringify(generateValue(random))),
  );
  const answers = checkNatively(texts);
  for (const [i, text] of texts.entries()) compare(text, answers[i]!);
});

test("accepts the mutated texts that the reference accepts, with the same value, except for the intended differences", (t) => {
  const random = new Random(seed + 3);
  const pool = corpus.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 400);
  for (let i = 0; i < 1000; ++i)
    pool.push(Buffer.from(ION.stringify(generateValue(random, random.below(4)))));
  const texts = Array.from({ length: count }, () =>
    mutate(random, random.pick(pool), random.pick(pool)),
  );
  const answers = checkNatively(texts);
  const seen = { accepted: 0, refused: 0 };
  const seenReasons = Object.fromEntries(
    Object.keys(differences).map((name) => [name, 0]),
  ) as Record<Difference, number>;
  texts.forEach((text, i) => {
    const { accepted, reasons } = compare(text, answers[i]!);
    ++seen[accepted ? "accepted" : "refused"];
    for (const reason of reasons) ++seenReasons[reason];
  });
  t.diagnostic(`${JSON.stringify(seen)} intended differences: ${JSON.stringify(seenReasons)}`);
  // A run in which only one side accepts or rejects tests nothing.
  assert.ok(seen.accepted > count / 20 && seen.refused > count / 20, JSON.stringify(seen));
});

test("every case of the corpus has the verdict of the reference and the intended differences", () => {
  assert.ok(corpus.length >= 452, `only ${corpus.length} cases`);
  const answers = checkNatively(corpus.map(({ bytes }) => bytes));
  corpus.forEach(({ name, bytes }, i) => {
    assert.equal(compare(bytes, answers[i]!).accepted, name.startsWith("accept_"), name);
  });
});

const intended: [Difference, string | Buffer][] = [
  ["utf8", Buffer.from([0x22, 0xff, 0x22])],
  ["utf8", Buffer.from([0x22, 0xc0, 0x80, 0x22])],
  ["utf8", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
  ["number", "-"],
  ["number", "[1., 2]"],
  ["number", "1e"],
  ["number", "1.e5"],
  ["number", "-.5"],
  ["hexDigits", '"\\uZZZZ"'],
  ["hexDigits", '"\\u12"4"'],
  ["hexDigits", '{"\\u 123": 1}'],
  ["date", "date:1"],
  ["date", "date:Jan-27-2026"],
  ["date", "date:2026-02-29"],
  ["date", "date:2026-01-27t15:30z"],
  ["date", "date:2026-01-27Z"],
  ["date", "date:2026-01-27T15:30:00.5Z"],
  ["date", "date:+275760-09-13T00:00"],
  ["depth", "[".repeat(257) + "]".repeat(257)],
];

for (const [reason, text] of intended) {
  const bytes = Buffer.from(text);
  test(`an intended difference (${reason}): ${bytes.toString("latin1").slice(0, 40)}`, () => {
    const [answer] = checkNatively([bytes]);
    assert.deepEqual(compare(bytes, answer!), { accepted: false, reasons: new Set([reason]) });
  });
}

test("the comparison detects a wrong reader", () => {
  const accept: Answer = { core: "accept", value: "accept", printed: "1" };
  const refuse: Answer = { core: "reject: x", value: "reject: x", printed: "" };
  assert.throws(() => compare(Buffer.from("1"), refuse), /the reference accepts/);
  assert.throws(() => compare(Buffer.from("[1,]"), accept), /the reference rejects/);
  assert.throws(() => compare(Buffer.from("1."), accept), /intended: number/);
  assert.throws(() => compare(Buffer.from("2"), accept));
  assert.throws(() => compare(Buffer.from("1"), { ...accept, value: "reject: x" }), /disagree/);
});
