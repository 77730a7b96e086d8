// The outcome of a forward, as in border.def.
import type { ForwardDoneInput } from "../module/border.generated.js";
import { Outcome as numbers } from "../module/border.generated.js";

export type Outcome = keyof typeof numbers;

export interface ForwardResult {
  readonly outcome: Outcome;
  /** 0 unless answered. */
  readonly status: number;
  /** The start of the answer's body; empty unless answered with another status than 2xx. */
  readonly body: Uint8Array;
}

const NOTHING = new Uint8Array(0);

export function unanswered(outcome: Exclude<Outcome, "answered">): ForwardResult {
  return { outcome, status: 0, body: NOTHING };
}

export function forwardDone(forward: number, result: ForwardResult): ForwardDoneInput {
  const { outcome, status, body } = result;
  return { type: "forward_done", forward, outcome: numbers[outcome], status, body };
}
