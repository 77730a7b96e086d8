// The messages between the page and its Web Worker.
import type { Answer, Why } from "./why.js";

export type Tone =
  | "client"
  | "http"
  | "engine"
  | "host"
  | "send"
  | "store"
  | "note"
  | "error"
  | "header"
  | "broken";

/** One line as the list shows it. */
export interface Row {
  /** From 0. */
  readonly line: number;
  readonly isInput: boolean;
  /** It matches a filter that hides no lines. */
  readonly isMatch: boolean;
  readonly tone: Tone;
  readonly time: number;
  readonly kind: string;
  /** Of the client or clients, or the request. */
  readonly who: string;
  readonly text: string;
}

/** A line in full. */
export interface Detail {
  readonly line: number;
  /** The lines of its input with all actions, the end exclusive. */
  readonly input: number;
  readonly end: number;
  readonly time: number;
  readonly kind: string;
  readonly tone: Tone;
  readonly bytes: number;
  readonly fields: readonly Field[];
  readonly links: readonly LineLink[];
  /** Whether the input publishes something. */
  readonly publishes: boolean;
}

export interface Field {
  readonly name: string;
  readonly value: string;
  /** The value as a tree of lines, if it is a message or body. */
  readonly pretty?: string;
}

export interface LineLink {
  readonly text: string;
  readonly line: number;
  readonly filter?: undefined;
}

/** To a line, or to the lines that a filter shows. */
export type Link = LineLink | { readonly text: string; readonly filter: string };

export type Mark = "new" | "changed" | "gone" | "";

/** Keys, topics and names are as recorded: `shown` makes them harmless. */
export interface TokenRow {
  readonly key: string;
  readonly state: string;
  readonly topic: string;
  readonly holder: number | undefined;
  readonly expiresAt: number;
  readonly mark: Mark;
  readonly was: string;
}

export interface ClientRow {
  readonly id: number;
  readonly opened: number;
  readonly session: string;
  readonly topics: readonly string[];
  readonly tokens: number;
  readonly mark: Mark;
}

export interface TopicRow {
  readonly name: string;
  readonly isChannel: boolean;
  readonly clients: readonly number[];
  readonly joined: readonly number[];
  readonly left: readonly number[];
  readonly mark: Mark;
}

/** The state after an input and all its actions. */
export interface StateView {
  readonly line: number;
  readonly group: number;
  readonly kind: string;
  readonly tokens: readonly TokenRow[];
  readonly clients: readonly ClientRow[];
  readonly topics: readonly TopicRow[];
  readonly counts: { readonly tokens: number; readonly clients: number; readonly topics: number };
}

export interface Bucket {
  readonly inputs: number;
  readonly sends: number;
  readonly errors: number;
}

export interface Summary {
  readonly name: string;
  readonly lines: number;
  readonly inputs: number;
  readonly hubs: number;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
  readonly core: string;
  readonly note: string;
  readonly isComplete: boolean;
  readonly isLive: boolean;
}

/** Its texts are as recorded, like those of a `TokenRow`. */
export interface Verdict {
  readonly isEqual: boolean;
  readonly title: string;
  readonly notes: readonly string[];
  /** From 0. */
  readonly line?: number;
  readonly expected?: string;
  readonly actual?: string;
  readonly links?: readonly LineLink[];
}

/** Questions and answers: page -> worker -> page. */
export interface Asks {
  rows: { ask: { from: number; count: number }; answer: readonly Row[] };
  /** The rows of the list after a filter; matches: the lines that the filter names. */
  filter: { ask: { text: string; isOnly: boolean }; answer: { error: string } };
  /** Where the list shows a line, or would show it. */
  position: { ask: { line: number }; answer: number };
  /** The line so many rows of the list further, at most its first or last one. */
  move: { ask: { line: number; rows: number }; answer: number | undefined };
  /** The line of the next input, or of the one before: of its own for an action. */
  input: { ask: { line: number; step: 1 | -1 }; answer: number | undefined };
  /** The next line that matches the filter. */
  next: { ask: { line: number; step: 1 | -1 }; answer: number | undefined };
  /** What caused a line and what follows from it, if that stands in other inputs. */
  causes: { ask: { line: number }; answer: readonly Link[] };
  detail: { ask: { line: number; isWhole: boolean }; answer: Detail };
  state: { ask: { line: number; filter: string }; answer: StateView };
  why: { ask: { line: number; topic: string | undefined }; answer: Why | undefined };
  publish: { ask: { line: number; step: 1 | -1 }; answer: number | undefined };
  density: { ask: { buckets: number }; answer: { buckets: readonly Bucket[]; isByTime: boolean } };
  jump: { ask: { bucket: number; buckets: number }; answer: number };
  place: { ask: { line: number; buckets: number }; answer: number };
  verify: { ask: { module: Uint8Array }; answer: Verdict };
  upgrade: { ask: { other: Uint8Array; name: string }; answer: Verdict };
  compare: { ask: { other: Blob; name: string }; answer: Verdict };
  save: { ask: undefined; answer: Blob };
}

export type Ask = {
  [A in keyof Asks]: { readonly id: number; readonly ask: A; readonly with: Asks[A]["ask"] };
}[keyof Asks];

/** A piece of the recording within the page, in base64. */
export interface Part {
  readonly part: string;
  readonly isGzip: boolean;
  readonly name: string;
  readonly isLast: boolean;
}

export type ToWorker =
  | Ask
  | Part
  | { readonly load: Blob; readonly name: string }
  | { readonly live: string };

export interface ListSummary {
  readonly rows: number;
  /** The groups that match the filter: inputs and header lines. */
  readonly matches: number;
  /** Of these, the inputs. */
  readonly inputs: number;
  /** The filter has come to the end. */
  readonly isDone: boolean;
}

export type FromWorker =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly summary: Summary }
  | { readonly list: ListSummary }
  | { readonly progress: { readonly what: string; readonly done: number } };

export type { Answer, Why };
