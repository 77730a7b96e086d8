// Generates values that ION can carry, and mutates texts.
import type { Random } from "./random.js";

const dateMsMax = 8.64e15;

/** Any value that ION can carry, at most `depth` levels deep. */
export function generateValue(random: Random, depth = 5): unknown {
  const kind = random.below(depth > 0 ? 20 : 11);
  if (kind < 2) return random.pick([null, true, false]);
  if (kind < 5) return generateNumber(random);
  if (kind < 9) return generateString(random);
  if (kind < 11) return generateDate(random);
  const size = random.pick([0, 1, 1, 2, 3, 5, 8]);
  const each = <T>(make: () => T): T[] => Array.from({ length: size }, make);
  const value = (): unknown => generateValue(random, depth - 1);
  if (kind < 14) return each(value);
  if (kind < 17) return Object.fromEntries(each(() => [generateKey(random), value()]));
  if (kind < 19) return new Map(each(() => [value(), value()]));
  return new Set(each(value));
}

function generateNumber(random: Random): number {
  switch (random.below(8)) {
    case 0:
      return random.pick([
        0,
        -0,
        NaN,
        Infinity,
        -Infinity,
        1e21,
        1e-7,
        1e-6,
        999999999999999900000,
        123456789012345680000,
      ]);
    case 1:
      return random.pick([
        Number.MIN_VALUE,
        Number.MAX_VALUE,
        -Number.MAX_VALUE,
        2.2250738585072014e-308,
        Number.EPSILON,
        2 ** 53 + 2,
        0.1,
        5e-324,
      ]);
    case 2:
      return random.below(1000) - 500;
    case 3:
      return random.u32() * 2 ** 32 + random.u32();
    case 4:
      return (random.below(2 ** 32) - 2 ** 31) / 10 ** random.below(20);
    case 5:
      return Number(`${random.below(1e6)}e${random.below(660) - 340}`);
    default: {
      // Any of the 2^64 bit patterns: subnormals, huge numbers, NaN.
      const words = new Uint32Array([random.u32(), random.u32()]);
      return new Float64Array(words.buffer)[0] ?? 0;
    }
  }
}

const stringPieces = [
  "",
  "a",
  "hello",
  '"',
  "\\",
  "/",
  "\n",
  "\t",
  "\r",
  "\b",
  "\f",
  "\0",
  "\x1f",
  "\x7f",
  "\u0080",
  "é",
  "€",
  "\u2028",
  "\ufeff",
  "\u00a0",
  "\ufffd",
  "\uffff",
  "😀",
  "\u{10ffff}",
  "\ud800",
  "\udfff",
  "\udc00\ud800",
  "date:2026",
  "map {  }",
  "}",
  "]",
  ",",
  ": ",
  "__proto__",
  "\\u0041",
  "NaN",
] as const;

function generateString(random: Random): string {
  let text = "";
  for (let i = random.below(5); i > 0; --i) {
    text += random.onceIn(4)
      ? String.fromCharCode(random.below(0x10000))
      : random.pick(stringPieces);
  }
  return random.onceIn(50) ? text.repeat(40) : text;
}

function generateKey(random: Random): string {
  if (random.onceIn(4)) {
    return random.pick([
      "0",
      "1",
      "10",
      "9",
      "01",
      "-1",
      "1.5",
      "4294967294",
      "4294967295",
      "4294967296",
      "99999999999",
      "1e3",
      " 1",
      "toString",
    ]);
  }
  const key = random.onceIn(3)
    ? generateString(random)
    : random.pick(["a", "b", "type", "data", "params"]);
  return key === "__proto__" ? "proto" : key; // rejected by both sides
}

function generateDate(random: Random): Date {
  switch (random.below(4)) {
    case 0:
      return new Date(
        random.pick([
          0,
          -1,
          1,
          dateMsMax,
          -dateMsMax,
          -62167219200000,
          -62167219200001,
          253402300799999,
          253402300800000,
          951782400000,
        ]),
      );
    case 1:
      return new Date(Math.round((random.u32() / 2 ** 32) * 4e12 - 2e12));
    default:
      return new Date(Math.round((random.u32() / 2 ** 32) * 2 * dateMsMax - dateMsMax));
  }
}

/** Texts that change the meaning where they are inserted, more often than random bytes do. */
const tokens = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  " ",
  "\n",
  '"',
  "\\",
  "/",
  "-",
  "+",
  ".",
  "e",
  "E",
  "0",
  "1",
  "01",
  "1.",
  "-.5",
  ".5",
  "1e",
  "1e400",
  "1e-400",
  "-0",
  "- 1",
  "null",
  "true",
  "false",
  "NaN",
  "Infinity",
  "-Infinity",
  "undefined",
  "map",
  "set",
  "map{",
  "set{",
  "map {  }",
  "set { 1 }",
  "map { 1: 2 }",
  "{}",
  "[]",
  "date:",
  "date:2026",
  "date:2026-02-29",
  "date:2024-02-29T24:00Z",
  "date:2026-1-1",
  "date:2026-01-27T15:30:00.000Z",
  "date:2026-01-27T15:30:00.5Z",
  "date:Jan",
  "date:+275760-09-13T00:00:00.000Z",
  "date:-271821-04-20",
  "date:-000000",
  "date:2026-01-27T15:30+01:00",
  "date:2026-01-27t15:30z",
  "date:1",
  "date:2026-01-27Z",
  '"__proto__":1',
  '"constructor": 1,',
  '"\\u005f_proto__": 1,',
  '"a":1',
  '"a": 1,',
  ',"10":1',
  ',"9":2',
  '""',
  '"\\u0000"',
  "\\u12",
  "\\uzzzz",
  "\\u 123",
  "\\ud800",
  "\\udc00",
  "\\x41",
  "\ufeff",
  "\u00a0",
  "\u2028",
  "é",
  "😀",
  "\0",
  "\x01",
  "\x0b",
  "//",
  "/* */",
  "'a'",
  ",]",
  ",}",
  "1 2",
  "[[[[",
  "]]]]",
].map((token) => Buffer.from(token));

const badBytes = [
  [0xff],
  [0x80],
  [0xc0, 0x80],
  [0xc3],
  [0xe2, 0x82],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
].map((bytes) => Buffer.from(bytes));

const replaceable = /"(?:[^"\\]|\\.)*"|date:[^ ,}\]]*|[-+.0-9eE]+|[A-Za-z]+|[{}[\],:]/g;

/** `text` with one to four small changes; `other` supplies the end for a splice. */
export function mutate(random: Random, text: Buffer, other: Buffer): Buffer {
  let bytes = text;
  for (let i = random.pick([1, 1, 1, 1, 2, 3, 4]); i > 0; --i)
    bytes = mutateOnce(random, bytes, other);
  return bytes;
}

function mutateOnce(random: Random, bytes: Buffer, other: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const put = (insert: Buffer, remove = 0): Buffer =>
    Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
  switch (random.below(9)) {
    case 0:
      return put(Buffer.from([(bytes[at] ?? 0) ^ (1 << random.below(8))]), 1);
    case 1:
      return put(Buffer.alloc(0), 1 + random.below(random.onceIn(4) ? 20 : 1));
    case 2:
      return put(random.onceIn(8) ? random.pick(badBytes) : random.pick(tokens));
    case 3:
      return put(other.subarray(random.below(other.length + 1)), bytes.length);
    case 4:
      return put(bytes.subarray(at, at + 1 + random.below(30)));
    case 5: {
      // One level deeper, or to about depth_max.
      const [start, end] = random.pick([
        ["[", "]"],
        ["map { 1: ", " }"],
        ["set { ", " }"],
        ['{ "a": ', " }"],
      ] as const);
      const levels = random.onceIn(8) ? 256 - random.below(8) : 1;
      return Buffer.concat([
        Buffer.from(start.repeat(levels)),
        bytes,
        Buffer.from(end.repeat(random.onceIn(20) ? levels + 1 : levels)),
      ]);
    }
    default: {
      // Replaces one token by another: the result is often still a document.
      const found = [...bytes.toString("latin1").matchAll(replaceable)];
      if (found.length === 0) return put(random.pick(tokens));
      const token = random.pick(found);
      return Buffer.concat([
        bytes.subarray(0, token.index),
        random.pick(tokens),
        bytes.subarray(token.index + token[0].length),
      ]);
    }
  }
}
