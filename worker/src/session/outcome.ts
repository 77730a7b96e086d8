// What became of a forward. The names are those of the border's outcomes.

export type Outcome =
  /** A final status line came. */
  | "answered"
  /** Nothing was sent: the app server has certainly not processed the message. */
  | "unreachable"
  /** The message was sent, or a part of it, and no final status line came. */
  | "broken_off"
  /** The host's own time limit has passed. */
  | "timed_out"
  /** None is configured. */
  | "no_app_server";

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
