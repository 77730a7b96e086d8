// The list of intended differences: texts that the npm reference accepts and we reject (docs/ion.md
// gives the reasons). Nothing else may differ, and we accept no text that the reference rejects.

export const differences = {
  utf8: "bytes that are not UTF-8, which the reference reads as U+FFFD",
  number: "a number outside JSON's grammar: `-`, `1.`, `1e`",
  hexDigits: "\\u without four hexadecimal digits",
  date: "a date outside the ECMAScript date-time string format, or not in the calendar",
  depth: "nesting beyond depth_max",
} as const;

export type Difference = keyof typeof differences;

export const depthMax = 256;

// The tokens as the reference scans them; after \u it skips four characters, whatever they are.
const tokenPattern =
  /"(?:[^"\\]|\\u[^]{4}|\\[^u])*"|date:[^ \t\r\n,}\]]*|-Infinity|(?=[-0-9])-?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?|[{}[\]]/g;
const numberPattern = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/** Why we reject a text that the reference accepts; empty: we must accept it, too. */
export function intendedDifferences(bytes: Uint8Array): Set<Difference> {
  const found = new Set<Difference>();
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  if (!Buffer.from(text).equals(bytes)) found.add("utf8");
  let depth = 0;
  for (const [token] of text.matchAll(tokenPattern)) {
    if (token.startsWith('"')) {
      if (!hasWholeEscapes(token)) found.add("hexDigits");
    } else if (token.startsWith("date:")) {
      if (!isStrictDate(token.slice("date:".length))) found.add("date");
    } else if (token === "{" || token === "[") {
      if (++depth > depthMax) found.add("depth");
    } else if (token === "}" || token === "]") {
      --depth;
    } else if (token !== "-Infinity" && !numberPattern.test(token)) {
      found.add("number");
    }
  }
  return found;
}

function hasWholeEscapes(string: string): boolean {
  for (const [escaped] of string.matchAll(/\\u[^]{4}|\\[^u]/g)) {
    if (escaped.startsWith("\\u") && !/^\\u[0-9a-fA-F]{4}$/.test(escaped)) return false;
  }
  return true;
}

const datePattern =
  /^(\d{4}|[+-]\d{6})(?:-(\d\d)(?:-(\d\d))?)?(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{3}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

function isStrictDate(text: string): boolean {
  const parts = datePattern.exec(text);
  if (parts === null || text.startsWith("-000000")) return false;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0, fraction = 0] = parts
    .slice(1, 8)
    .map((part) => (part === undefined ? undefined : Number(part)));
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return false;
  if (minute > 59 || second > 59 || hour > 24 || (hour === 24 && minute + second + fraction > 0))
    return false;
  const offset = parts[8];
  if (
    offset !== undefined &&
    offset !== "Z" &&
    (Number(offset.slice(1, 3)) > 23 || Number(offset.slice(4)) > 59)
  )
    return false;
  // A local time must be a date in every time zone: one day inside the bounds. (Tests run in UTC.)
  const isLocal = text.includes("T") && offset === undefined;
  return Math.abs(Date.parse(text)) <= 8.64e15 - (isLocal ? 86_400_000 : 0);
}

function daysIn(year: number, month: number): number {
  return new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
}

/**
 * Converts a reference text to the form that `ion::print` writes: lone surrogates escaped, and a
 * space after a date that is a map key.
 */
export function asWePrint(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`)
    .replace(/"(?:[^"\\]|\\.)*"|date:[^ ,}\]]*/gs, (token) =>
      token.startsWith("date:") && token.endsWith(":") ? `${token.slice(0, -1)} :` : token,
    );
}
