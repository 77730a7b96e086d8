// Replays a recording through a module, and compares two recordings.
import { compileModule } from "../src/module/hub.js";
import { gapText, Replayer } from "../src/module/replay.js";
import type { LineLink, Verdict } from "./protocol.js";
import type { Recording } from "./recording.js";

const NOTHING = new Uint8Array(0);
const NOTHING_MORE = "(nothing more for this input)";
const STEP = 512;
const SHOWN_KINDS = 20;

type Steps = AsyncGenerator<number, Verdict, undefined>;

/** Yields the number of lines done, now and then. */
export async function* verify(recording: Recording, module: Uint8Array): Steps {
  const replayer = new Replayer(await compileModule(module));
  const whole = recording.lineCount - (recording.isCut ? 1 : 0);
  try {
    for (let line = 0; line <= whole; line++) {
      const rest = recording.isCut ? recording.lineBytes(line) : NOTHING;
      const difference =
        line < whole ? replayer.line(recording.lineBytes(line)) : replayer.end(rest);
      if (difference !== undefined) {
        return {
          isEqual: false,
          title: `The replay differs at line ${difference.line}.`,
          notes: [`${replayer.inputs} inputs replayed before it`],
          line: difference.line - 1,
          expected: difference.expected ?? NOTHING_MORE,
          actual: difference.actual ?? NOTHING_MORE,
        };
      }
      if (line % STEP === 0) yield line;
    }
  } catch (error) {
    return failed(error);
  }
  const notes = [
    ...replayer.gaps.map(({ line, lines }) => `line ${line}: ${gapText(lines)}`),
    ...replayer.cuts.map(
      ({ line, linesDue }) =>
        `line ${line}: the recording was cut off; its last input has ${linesDue} more lines`,
    ),
  ];
  if (replayer.changedTexts > 0)
    notes.push(`changed since format 1: the wording of ${replayer.changedTexts} errors`);
  return {
    isEqual: true,
    title: `${replayer.inputs.toLocaleString("en")} inputs replayed, all actions equal.`,
    notes,
  };
}

/** The inputs that another module answers differently. */
export async function* upgrade(recording: Recording, other: Uint8Array, name: string): Steps {
  const kinds = new Map<string, { count: number; first: number }>();
  let module: Awaited<ReturnType<typeof compileModule>>;
  try {
    module = await compileModule(other);
  } catch (error) {
    return failed(error, `${name} cannot be used.`);
  }
  const replayer = new Replayer(module);
  try {
    for (let group = 0; group < recording.groupCount; group++) {
      const from = recording.firstLine(group);
      const to = recording.endLine(group);
      for (let line = from; line < to; line++) {
        // Its hashes cover all lines before, so they differ from the first difference on.
        const isSkipped = recording.kind(line) === "hash";
        if (!isSkipped && replayer.line(recording.lineBytes(line)) === undefined) continue;
        if (isSkipped) {
          replayer.skip(1);
          continue;
        }
        note(kinds, recording.kind(from), line);
        replayer.skip(to - line - 1);
        break;
      }
      // An input with fewer lines than before shows when the next one comes.
      if (replayer.linesDue > 0) note(kinds, recording.kind(from), to - 1);
      replayer.skip(0);
      if (group % STEP === 0) yield to;
    }
  } catch (error) {
    return failed(error);
  }
  const links: LineLink[] = [...kinds].slice(0, SHOWN_KINDS).map(([kind, { count, first }]) => ({
    line: first,
    text: `${kind}: ${count} inputs; the first at line ${first + 1}`,
  }));
  const sum = [...kinds.values()].reduce((total, { count }) => total + count, 0);
  return sum === 0
    ? { isEqual: true, title: `${name} answers all inputs as recorded.`, notes: [] }
    : { isEqual: false, title: `${name} answers ${sum} inputs differently.`, notes: [], links };
}

function note(kinds: Map<string, { count: number; first: number }>, kind: string, line: number) {
  const known = kinds.get(kind);
  if (known === undefined) kinds.set(kind, { count: 1, first: line });
  else known.count++;
}

/** The first line in which two recordings differ. */
export async function* compare(recording: Recording, other: Recording, name: string): Steps {
  const count = Math.min(recording.lineCount, other.lineCount);
  for (let line = 0; line < count; line++) {
    if (!isEqual(recording.lineBytes(line), other.lineBytes(line))) {
      return {
        isEqual: false,
        title: `${name} differs at line ${line + 1}.`,
        notes: [`${line} lines are equal`],
        line,
        expected: recording.text(line),
        actual: other.text(line),
      };
    }
    if (line % (STEP * 16) === 0) yield line;
  }
  const [here, there] = [recording.lineCount, other.lineCount];
  if (here === there) return { isEqual: true, title: `${name} has the same lines.`, notes: [] };
  return {
    isEqual: false,
    title: `${name} has ${there > here ? "more" : "fewer"} lines: ${there} instead of ${here}.`,
    notes: ["all lines that both have are equal"],
    line: Math.min(count, here - 1),
  };
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

function failed(error: unknown, title = "The recording cannot be replayed."): Verdict {
  const reason = error instanceof Error ? error.message : String(error);
  return { isEqual: false, title, notes: [reason] };
}
