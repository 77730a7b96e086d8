// The Web Worker of the inspector: holds the recording and answers the page's questions. Long work
// goes in short steps, so that the rows of the list never wait for it.
import { causesOf } from "./causes.js";
import { detailOf, stateOf } from "./details.js";
import type { Filter } from "./filter.js";
import { filterOf } from "./filter.js";
import { Fold } from "./fold.js";
import { plain } from "./message.js";
import type { Ask, Asks, Bucket, FromWorker, Part, ToWorker, Verdict } from "./protocol.js";
import { publishedTopics } from "./publish.js";
import { Recording } from "./recording.js";
import { rowOf } from "./rows.js";
import { compare, upgrade, verify } from "./verify.js";
import { why } from "./why.js";

const STEP_MS = 8;
const NEWLINE = Uint8Array.of(10);
const FILTER_GROUPS = 64;

const scope = globalThis as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: ((event: { readonly data: ToWorker }) => void) | null;
};

let recording = new Recording();
let fold = new Fold(recording);
let name = "";
let isComplete = false;
let isLive = false;
let note = "";

let filter: Filter = filterOf("");
let isOnly = true;
let isFiltered = false;
let filteredGroups = 0; // tested so far
let isFiltering = false;
/** The groups that match, and their lines. */
let matches = new Uint32Array(1024);
let matchCount = 0;
let matchedInputs = 0;
let lines = new Uint32Array(1024);
let lineRows = 0;

/** Ends older work of the same name. */
const runs = new Map<string, number>();
function run(what: string): () => boolean {
  const number = (runs.get(what) ?? 0) + 1;
  runs.set(what, number);
  return () => runs.get(what) === number;
}

const channel = new MessageChannel();
const waiting: (() => void)[] = [];
channel.port1.onmessage = () => waiting.shift()?.();
/** Lets other messages in. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(0);
  });
}

scope.onmessage = ({ data }) => {
  if ("ask" in data) void answer(data);
  else if ("load" in data) void load(data.load, data.name);
  else if ("part" in data) void loadPart(data);
  else void live(data.live);
};

// --- loading ---

function reset(newName: string): () => boolean {
  recording = new Recording();
  fold = new Fold(recording);
  name = newName;
  isComplete = false;
  isLive = false;
  note = "";
  for (const what of ["filter", "why", "causes", "verify"]) run(what);
  refilter();
  return run("load");
}

async function load(blob: Blob, newName: string): Promise<void> {
  const isCurrent = reset(newName);
  try {
    await read(await opened(blob), isCurrent);
  } catch (error) {
    if (isCurrent()) finish(`The recording cannot be read: ${String(error)}`);
  }
}

async function opened(blob: Blob): Promise<ReadableStream<Uint8Array>> {
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const isGzip = start[0] === 0x1f && start[1] === 0x8b;
  const stream = blob.stream() as ReadableStream<Uint8Array>;
  return isGzip ? unzipped(stream) : stream;
}

function unzipped(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const gzip = new DecompressionStream("gzip") as unknown as ReadableWritablePair<
    Uint8Array,
    Uint8Array
  >;
  return stream.pipeThrough(gzip);
}

let parts: WritableStreamDefaultWriter<Uint8Array> | undefined;

/** The recording within the page comes in pieces of base64. */
async function loadPart(data: Part): Promise<void> {
  if (parts === undefined) {
    const pipe = new TransformStream<Uint8Array, Uint8Array>(
      undefined,
      undefined,
      new CountQueuingStrategy({ highWaterMark: Number.POSITIVE_INFINITY }),
    );
    parts = pipe.writable.getWriter();
    const isCurrent = reset(data.name);
    read(data.isGzip ? unzipped(pipe.readable) : pipe.readable, isCurrent).catch((error) =>
      finish(`The recording cannot be read: ${String(error)}`),
    );
  }
  const writer = parts;
  if (data.part !== "") void writer.write(bytesOf(data.part)).catch(() => undefined);
  if (!data.isLast) return;
  parts = undefined;
  void writer.close().catch(() => undefined);
}

function bytesOf(base64: string): Uint8Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

async function read(stream: ReadableStream<Uint8Array>, isCurrent: () => boolean): Promise<void> {
  const reader = stream.getReader();
  let told = performance.now();
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    if (!isCurrent()) return void reader.cancel();
    recording.add(chunk.value);
    fold.advance(false);
    if (performance.now() - told < 100) continue;
    told = performance.now();
    tell();
  }
  recording.end();
  finish("");
}

function finish(problem: string): void {
  isComplete = true;
  note = problem;
  fold.advance(true);
  if (recording.lineCount > 0 && recording.hubs.length === 0)
    note ||= 'This is no recording: no line begins with {"trace":';
  tell();
  void filterMore();
}

function tell(): void {
  scope.postMessage({
    summary: {
      name,
      lines: recording.lineCount,
      inputs: recording.inputCount,
      hubs: recording.hubs.length,
      bytes: recording.bytes,
      from: timeAt(1),
      to: timeAt(recording.groupCount - 1),
      core: coreOf(),
      note,
      isComplete,
      isLive,
    },
  });
  tellList();
}

function timeAt(group: number): number {
  return group > 0 && group < recording.groupCount ? recording.time(group) : 0;
}

function coreOf(): string {
  const header = recording.hubs[0];
  if (header === undefined) return "";
  return plain(recording.parse(recording.firstLine(header))?.["core"] ?? "");
}

// --- live ---

function live(url: string): void {
  reset("live");
  isLive = true;
  const encoder = new TextEncoder();
  const source = new EventSource(url);
  let due = false;
  source.onmessage = (event: MessageEvent<string>) => {
    recording.add(encoder.encode(`${event.data}\n`));
    if (due) return;
    due = true;
    setTimeout(() => {
      due = false;
      fold.advance(true);
      tell();
      void filterMore();
    }, 100);
  };
  source.onopen = () => {
    note = "";
    tell();
  };
  source.onerror = () => {
    source.close();
    isLive = false;
    finish("The connection to Sidekick is lost. The lines so far stay here; Save writes them.");
  };
}

// --- the list ---

function refilter(): void {
  matchCount = 0;
  matchedInputs = 0;
  lineRows = 0;
  filteredGroups = 0;
  isFiltered = !filter.isEmpty;
  void filterMore();
}

/** While a file is read, the last input may still get actions. Live, it comes with all of them. */
function wholeGroups(): number {
  return recording.groupCount - (isComplete || isLive ? 0 : 1);
}

async function filterMore(): Promise<void> {
  const isCurrent = run("filter");
  isFiltering = isFiltered;
  if (!isFiltered) return tellList();
  let until = performance.now() + STEP_MS;
  let told = 0;
  while (filteredGroups < wholeGroups()) {
    for (let step = 0; step < FILTER_GROUPS && filteredGroups < wholeGroups(); step++) {
      if (filter.matches(recording, filteredGroups)) addMatch(filteredGroups);
      filteredGroups++;
    }
    if (performance.now() < until) continue;
    if (performance.now() - told > 100) {
      told = performance.now();
      tellList();
    }
    await pause();
    if (!isCurrent()) return;
    until = performance.now() + STEP_MS;
  }
  isFiltering = false;
  tellList();
}

/** Waits until the filter has come far enough for an answer, or to its end. */
async function filtered(isEnough: () => boolean): Promise<void> {
  if (!isFiltering || isEnough()) return;
  while (isFiltering && !isEnough()) await pause();
  tellList(); // the page needs the rows before an answer about them
}

const isPast = (line: number) => (): boolean => filteredGroups > recording.groupOf(line);

function addMatch(group: number): void {
  if (matchCount === matches.length) matches = grown(matches);
  matches[matchCount++] = group;
  if (recording.isInput(recording.firstLine(group))) matchedInputs++;
  for (let line = recording.firstLine(group); line < recording.endLine(group); line++) {
    if (lineRows === lines.length) lines = grown(lines);
    lines[lineRows++] = line;
  }
}

function grown(values: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(values.length * 2);
  larger.set(values);
  return larger;
}

const isShort = (): boolean => isFiltered && isOnly;
const rowCount = (): number => (isShort() ? lineRows : recording.lineCount);
const lineOfRow = (row: number): number => (isShort() ? lines[row]! : row);
/** Of a line that the filter hides, the row before it. */
const rowOfLine = (line: number): number =>
  isShort() ? Math.max(0, lowerBound(lines, lineRows, line + 1) - 1) : line;

function tellList(): void {
  const isDone = !isFiltered || filteredGroups >= wholeGroups();
  scope.postMessage({
    list: { rows: rowCount(), matches: matchCount, inputs: matchedInputs, isDone },
  });
}

function isMatch(line: number): boolean {
  const group = recording.groupOf(line);
  return matches[lowerBound(matches, matchCount, group)] === group;
}

/** The first place in sorted values that is not below. */
function lowerBound(values: Uint32Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// --- answers ---

type Answers = {
  [A in keyof Asks]: (given: Asks[A]["ask"]) => Asks[A]["answer"] | Promise<Asks[A]["answer"]>;
};

const answers: Answers = {
  rows({ from, count }) {
    const rows = [];
    for (let row = from; row < Math.min(from + count, rowCount()); row++) {
      const line = lineOfRow(row);
      rows.push(rowOf(recording, line, isFiltered && !isOnly && isMatch(line)));
    }
    return rows;
  },

  filter(given) {
    filter = filterOf(given.text);
    isOnly = given.isOnly;
    refilter();
    return { error: filter.error };
  },

  async position({ line }) {
    await filtered(isPast(line));
    return rowOfLine(line);
  },

  async move({ line, rows }) {
    await filtered(isPast(line));
    await filtered(() => !isShort() || rowOfLine(line) + rows < lineRows);
    const row = Math.min(Math.max(0, rowOfLine(line) + rows), rowCount() - 1);
    return row < 0 ? undefined : lineOfRow(row);
  },

  input({ line, step }) {
    if (recording.lineCount === 0) return undefined;
    const group = recording.groupOf(line);
    if (step < 0 && line > recording.firstLine(group)) return recording.firstLine(group);
    const to = group + step;
    return to < 0 || to >= recording.groupCount ? undefined : recording.firstLine(to);
  },

  async next({ line, step }) {
    const group = recording.groupOf(line);
    const found = (): number => {
      const index = lowerBound(matches, matchCount, group);
      if (step < 0) return index - 1;
      return index < matchCount && matches[index] === group ? index + 1 : index;
    };
    await filtered(() => (step < 0 ? isPast(line)() : found() < matchCount));
    const index = found();
    return index < 0 || index >= matchCount ? undefined : recording.firstLine(matches[index]!);
  },

  detail: ({ line, isWhole }) => detailOf(recording, checked(line), isWhole),

  state({ line, filter: word }) {
    const group = recording.groupOf(checked(line));
    return stateOf(recording, group, fold.after(group), word);
  },

  async why({ line, topic }) {
    const group = recording.groupOf(checked(line));
    const topics = publishedTopics(recording, group);
    if (topics.length === 0) return undefined;
    const known = topics.find((name) => name === topic) ?? topics[0]!;
    return inSteps("why", why(recording, group, known));
  },

  async causes({ line }) {
    return (await inSteps("causes", causesOf(recording, fold, checked(line)))) ?? [];
  },

  publish({ line, step }) {
    const from = recording.groupOf(line) + step;
    for (let group = from; group >= 0 && group < recording.groupCount; group += step) {
      const first = recording.firstLine(group);
      const kind = recording.kind(first);
      if (kind !== "http_request" && kind !== "engine_message") continue;
      if (publishedTopics(recording, group).length > 0) return first;
    }
    return undefined;
  },

  density({ buckets }) {
    const found: { -readonly [K in keyof Bucket]: Bucket[K] }[] = [];
    for (let i = 0; i < buckets; i++) found.push({ inputs: 0, sends: 0, errors: 0 });
    for (let group = 0; group < recording.groupCount; group++) {
      const bucket = found[bucketOf(group, buckets)]!;
      const first = recording.firstLine(group);
      if (recording.isInput(first)) bucket.inputs++;
      for (let line = first; line < recording.endLine(group); line++) {
        if (recording.kind(line) === "send") bucket.sends++;
        if (recording.isError(line)) bucket.errors++;
      }
    }
    return { buckets: found, isByTime: isByTime() };
  },

  jump({ bucket, buckets }) {
    let low = 0;
    let high = recording.groupCount - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bucketOf(middle, buckets) < bucket) low = middle + 1;
      else high = middle;
    }
    return recording.groupCount === 0 ? 0 : recording.firstLine(low);
  },

  place: ({ line, buckets }) =>
    recording.groupCount === 0 ? 0 : bucketOf(recording.groupOf(line), buckets),

  verify: ({ module }) => stepped(verify(recording, module), recording.lineCount),

  upgrade: ({ other, name: otherName }) =>
    stepped(upgrade(recording, other, otherName), recording.lineCount),

  async compare({ other, name: otherName }) {
    const second = new Recording();
    const reader = (await opened(other)).getReader();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read())
      second.add(chunk.value);
    second.end();
    return stepped(compare(recording, second, otherName), recording.lineCount);
  },

  save() {
    const all: Uint8Array<ArrayBuffer>[] = [];
    for (let line = 0; line < recording.lineCount; line++)
      all.push(recording.lineBytes(line), NEWLINE);
    return new Blob(all, { type: "application/jsonl" });
  },
};

function checked(line: number): number {
  if (recording.lineCount === 0) throw new Error("there are no lines yet");
  return Math.min(Math.max(0, Math.trunc(line)), recording.lineCount - 1);
}

function isByTime(): boolean {
  return recording.isOrdered && timeAt(recording.groupCount - 1) > timeAt(1);
}

function bucketOf(group: number, buckets: number): number {
  const last = recording.groupCount - 1;
  const [from, to] = [timeAt(1), timeAt(last)];
  const part = isByTime()
    ? (recording.time(group) - from) / (to - from)
    : group / Math.max(1, last);
  return Math.min(buckets - 1, Math.max(0, Math.floor(part * buckets)));
}

/** @returns undefined if newer work of the same name has ended it */
async function inSteps<T>(
  what: string,
  steps: Generator<undefined, T, undefined>,
): Promise<T | undefined> {
  const isCurrent = run(what);
  let until = performance.now() + STEP_MS;
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done === true) return step.value;
    if (performance.now() < until) continue;
    await pause();
    if (!isCurrent()) return undefined;
    until = performance.now() + STEP_MS;
  }
}

async function stepped(
  steps: AsyncGenerator<number, Verdict, undefined>,
  all: number,
): Promise<Verdict> {
  const isCurrent = run("verify");
  let until = performance.now() + STEP_MS;
  for (let step = await steps.next(); ; step = await steps.next()) {
    if (step.done === true) return step.value;
    if (performance.now() < until) continue;
    scope.postMessage({ progress: { what: "verify", done: step.value / Math.max(1, all) } });
    await pause();
    if (!isCurrent()) return { isEqual: false, title: "Stopped.", notes: [] };
    until = performance.now() + STEP_MS;
  }
}

async function answer(asked: Ask): Promise<void> {
  try {
    const given = await (answers[asked.ask] as (given: unknown) => unknown)(asked.with);
    scope.postMessage({ id: asked.id, answer: given });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    scope.postMessage({ id: asked.id, error: reason });
  }
}
