// Places where a recording may be cut off, and what then remains. Reads the bytes without the code
// under test.

import type { Verdict } from "./players.ts";
import type { Random } from "./random.ts";

const NEWLINE = 10;

/**
 * Byte counts: at random, and at every critical place. Never in the header line, without which
 * there is no recording.
 */
export function cutsOf(recording: Buffer, dice: Random, each: number): number[] {
  const lines = linesOf(recording);
  const from = lines[0]!.end;
  const within = (lines: readonly Span[]) =>
    lines.map(({ start, end }) => start + 1 + dice.below(end - start - 2));
  const some = <T>(all: readonly T[]) =>
    Array.from({ length: Math.min(each, all.length) }, () => dice.pick(all));
  const multiByte = [...recording.keys()].filter(
    (at) => at > from && (recording[at]! & 0xc0) === 0x80,
  );
  const inputs = lines.filter(({ kind }) => kind === "in");
  const answered = inputs.filter(({ index }) => lines[index + 1]?.kind === "out");
  const rare = lines.filter(
    ({ kind, index }) => index > 0 && (kind === "trace" || kind === "hash"),
  );
  const cuts = [
    from,
    ...Array.from({ length: each }, () => from + dice.below(recording.byteLength - from)),
    ...some(multiByte),
    ...some(inputs).map(({ start }) => start), // as if nothing had happened
    ...some(answered).map(({ end }) => end), // between an input and its actions
    ...some(inputs).map(({ end }) => end - 1), // only the newline is missing
    ...some(lines.filter(({ index }) => index > 0 && lines[index + 1]?.kind !== "out")).map(
      ({ end }) => end - 1,
    ), // and nothing else
    ...within(some(rare)),
  ];
  return [...new Set(cuts)].sort((a, b) => a - b);
}

/** The expected report on the recording truncated to this many bytes. */
export function verdictOf(recording: Buffer, bytes: number): Verdict {
  const { inputs, lines, half, lacksNewline, linesDue } = restOf(recording, bytes);
  return {
    inputs,
    cuts: half || lacksNewline || linesDue > 0 ? [{ line: lines.length, linesDue }] : [],
  };
}

/**
 * The same if the host was killed there, and another recording of this many inputs follows in the
 * same file.
 */
export function succeededVerdictOf(recording: Buffer, bytes: number, inputsMore: number): Verdict {
  const { inputs, lines, half, linesDue } = restOf(recording, bytes);
  // A recording ends with an input alone if its hub trapped.
  const isTold = half || (linesDue > 0 && lines.at(-1)!.kind !== "in");
  return { inputs: inputs + inputsMore, cuts: isTold ? [{ line: lines.length, linesDue }] : [] };
}

/** A line that lacks only its newline counts. */
function restOf(recording: Buffer, bytes: number) {
  const all = linesOf(recording);
  const lines = all.filter(({ start }) => start < bytes);
  const whole = lines.filter(({ end }) => end - 1 <= bytes);
  const next = all.slice(whole.length).findIndex(({ kind }) => kind !== "out");
  return {
    lines,
    inputs: whole.filter(({ kind }) => kind === "in").length,
    half: whole.length < lines.length,
    lacksNewline: lines.at(-1)!.end !== bytes,
    linesDue: next < 0 ? all.length - whole.length : next,
  };
}

interface Span {
  readonly index: number;
  readonly kind: string;
  readonly start: number;
  /** After the newline. */
  readonly end: number;
}

function linesOf(recording: Buffer): Span[] {
  const lines: Span[] = [];
  for (let start = 0; start < recording.byteLength; ) {
    const end = recording.indexOf(NEWLINE, start) + 1;
    lines.push({
      index: lines.length,
      kind: /^\{"(\w+)"/.exec(recording.subarray(start, start + 8).toString("latin1"))![1]!,
      start,
      end,
    });
    start = end;
  }
  return lines;
}
