// Plays a conversation to both sides, finds the first step at which they differ, and shrinks it.
import { all, type Difference } from "./differences.ts";
import { type Deliver, Ours } from "./ours.ts";
import { Reference } from "./reference.ts";
import { type Step, show } from "./script.ts";

export interface Options {
  /** The allowed corrections of the reference; all of the list unless given. */
  readonly allowed?: readonly Difference[];
  /** Creates the stage between our module and its clients, for each conversation. */
  readonly deliver?: () => Deliver;
  /** Limits of our module that differ from their defaults. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Replaces our module. */
  readonly module?: WebAssembly.Module;
  /** Counts how often each difference occurred. */
  readonly met?: Map<Difference, number>;
}

export interface Finding {
  readonly at: number;
  readonly reference: string;
  readonly ours: string;
}

/** undefined: both sides were equal from beginning to end. */
export async function compare(
  steps: readonly Step[],
  { allowed = all, deliver, limits, module, met }: Options = {},
): Promise<Finding | undefined> {
  const theirs = new Reference(allowed);
  const ours = new Ours(deliver?.(), limits, module);
  let finding: Finding | undefined;
  for (let at = 0; at < steps.length && finding === undefined; ++at) {
    const seen = { reference: await theirs.play(steps[at]!), ours: ours.play(steps[at]!) };
    if (seen.reference !== seen.ours) finding = { at, ...seen };
  }
  if (met !== undefined)
    for (const [name, count] of theirs.met) met.set(name, (met.get(name) ?? 0) + count);
  return finding;
}

/** Drops steps, in ever smaller pieces, while the two sides still differ. */
export async function shrink(steps: readonly Step[], options: Options = {}): Promise<Step[]> {
  let kept = [...steps];
  for (let size = kept.length; size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let dropped = true; dropped; ) {
      dropped = false;
      for (let from = kept.length - size; from >= 0; --from) {
        const fewer = [...kept.slice(0, from), ...kept.slice(from + size)];
        const finding = await compare(fewer, options);
        if (finding === undefined) continue;
        kept = fewer.slice(0, finding.at + 1);
        dropped = true;
        from = Math.min(from, kept.length - size + 1);
      }
    }
  }
  return kept;
}

/** Formats a conversation that differs, for a reader. */
export function explain(steps: readonly Step[], { at, reference, ours }: Finding): string {
  const played = steps
    .slice(0, at + 1)
    .map((step) => `  > ${show(step)}\n`)
    .join("");
  return `${played}the reference (corrected):\n${indented(reference)}ours:\n${indented(ours)}`;
}

function indented(text: string): string {
  return text === "" ? "  nothing\n" : text.replace(/^/gm, "  ").replace(/ +$/, "");
}
