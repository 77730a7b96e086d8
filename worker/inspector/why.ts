// Why did a client get a message, or not? One answer for each client of the hub: rules over the
// fold, in the order of `answerOf`. Each answer names the line that proves it.
import type { Token } from "./fold.js";
import { applyGroup, State } from "./fold.js";
import type { Members } from "./message.js";
import {
  bytesText,
  isMembers,
  membersOf,
  number,
  resourceTopic,
  shownTopic,
  strings,
} from "./message.js";
import { clientsOf, dataOf, Publish, publishedTopics } from "./publish.js";
import type { Recording } from "./recording.js";

/** In the order in which the answers are shown. */
export const REASONS = [
  "delivered",
  "recovered", // delivered later, when it subscribed
  "lost", // sent, but its socket lagged or closed
  "rejected", // the publish itself
  "engine", // the engine did not bring it back to this Sidekick
  "cut", // the recording ends before the hub acted
  "waiting", // its subscribe waited for the engine
  "refused", // its subscribe was
  "left",
  "late", // it subscribed only later
  "never",
  "closed",
  "not_open_yet",
] as const;
export type Reason = (typeof REASONS)[number];

export interface Answer {
  readonly client: number;
  readonly reason: Reason;
  /** From 0. */
  readonly line: number | undefined;
  readonly text: string;
  /** Where the subscription began that was in force. */
  readonly since: number | undefined;
}

export interface Why {
  readonly topic: string;
  /** All topics of this publish. */
  readonly topics: readonly string[];
  /** The line of the input that published. */
  readonly line: number;
  readonly answers: readonly Answer[];
}

/** A socket that reads nothing is dropped after three pings, 30 s apart. */
const SILENCE_MS = 90_000;
const SHOWN_TOPICS = 3;

/** Facts about one client until the message, and a little after it. */
interface Life {
  opened: number;
  closed?: { line: number; text: string };
  since?: number;
  left?: { line: number; text: string };
  refused?: { line: number; text: string };
  /** A subscribe with a token that nobody registered, so its topic is not known. */
  strange?: { line: number; text: string };
  waiting?: number;
  topics: readonly string[];
  sent?: number;
  failed?: { line: number; text: string };
  /** It has sent something after the message, so its socket was alive. */
  isAlive?: boolean;
  recovered?: number;
  late?: number;
  isOpenedLater?: boolean;
}

/**
 * Yields now and then, so that its caller can do other things meanwhile.
 * @param topic one of publishedTopics
 */
export function* why(
  recording: Recording,
  group: number,
  topic: string,
): Generator<undefined, Why, undefined> {
  const hub = recording.hubOf(group);
  const publish = new Publish(recording, group, topic, hub);
  const lives = new Map<number, Life>();
  const state = new State();
  const tracker = new Tracker(recording, state, topic, lives);
  for (let at = hub.from; at < publish.group; at++) {
    tracker.group(at);
    if (at % 1024 === 0) yield undefined;
  }
  // A subscribe in the same input comes first, as of the client whose message waited.
  tracker.group(publish.group);
  for (const [id, life] of lives)
    life.topics = state.clients.has(id) ? [...state.topicsOf(id)] : life.topics;
  for (const line of publish.sends) {
    for (const client of clientsOf(recording.parse(line))) {
      const life = lives.get(client);
      if (life !== undefined) life.sent ??= line;
    }
  }
  tracker.isAfter = true;
  tracker.time = recording.time(publish.group);
  tracker.message = publish.message;
  for (let at = publish.group + 1; at < hub.to; at++) {
    tracker.group(at);
    if (at % 1024 === 0) yield undefined;
  }
  const answers: Answer[] = [];
  for (const [client, life] of lives) {
    answers.push(answerOf(client, life, topic, publish));
    if (answers.length % 64 === 0) yield undefined;
  }
  const rank = ({ reason }: Answer): number => REASONS.indexOf(reason);
  answers.sort((a, b) => rank(a) - rank(b) || a.client - b.client);
  return {
    topic,
    topics: publishedTopics(recording, group),
    line: recording.firstLine(group),
    answers,
  };
}

/** Follows all clients of a hub, and what they do about one topic. */
class Tracker {
  isAfter = false;
  time = 0;
  message: string | undefined;
  readonly #recording: Recording;
  readonly #state: State;
  readonly #topic: string;
  readonly #lives: Map<number, Life>;
  /** The topics of all tokens, also of those that are gone. */
  readonly #topics = new Map<string, string | undefined>();
  readonly #gone = new Map<string, number>();
  /** Then the host itself closes all sockets. */
  #isStopping = false;

  constructor(recording: Recording, state: State, topic: string, lives: Map<number, Life>) {
    this.#recording = recording;
    this.#state = state;
    this.#topic = topic;
    this.#lives = lives;
  }

  group(group: number): void {
    const recording = this.#recording;
    const first = recording.firstLine(group);
    const end = recording.endLine(group);
    const kind = recording.kind(first);
    const input = kind === "client_frame" ? recording.parse(first) : undefined;
    const sender = number(input?.["client"]);
    const frame = input === undefined ? undefined : membersOf(bytesText(input["bytes"]));
    const before = { tokens: new Map<string, Token | undefined>(), clients: new Map() };
    if (!this.isAfter) this.#state.before = before;
    const wanted = frame === undefined ? undefined : this.#wanted(frame);
    if (kind === "client_opened" || kind === "restore_client") this.#open(first);
    if (kind === "shutting_down") this.#isStopping = true;
    applyGroup(this.#state, recording, group);
    this.#state.before = undefined;
    this.#alive(kind, first, sender);

    for (const [key, old] of before.tokens) {
      const now = this.#state.tokens.get(key);
      this.#topics.set(key, (now ?? old)?.topic);
      if (now === undefined) this.#gone.set(key, first);
    }
    this.#changes(before.clients.keys(), before.tokens, first, kind, frame, sender);
    for (let line = first; line < end; line++) this.#line(line, sender, frame, wanted, group);
    const life = this.#lives.get(sender);
    const isUnanswered =
      life !== undefined && wanted !== undefined && !this.isAfter && life.since === undefined;
    if (isUnanswered && !this.#isAnswered(first, end, sender)) life.waiting = first;
  }

  #open(line: number): void {
    const id = number(this.#recording.parse(line)?.["client"]);
    if (this.isAfter && this.#lives.has(id)) return;
    this.#lives.set(id, { opened: line, topics: [], isOpenedLater: this.isAfter });
  }

  /** Whether a message wants the topic, and whether only its token says so. */
  #wanted(frame: Members): "topic" | "strange" | undefined {
    if (frame["type"] === "listen") {
      const names = strings(frame["resources"]);
      return names.some((name) => resourceTopic(name) === this.#topic) ? "topic" : undefined;
    }
    if (frame["type"] !== "subscribe" || !this.#topic.startsWith("channel:")) return undefined;
    const key = frame["token"];
    if (typeof key !== "string") return undefined;
    const topic = this.#state.tokens.get(key)?.topic ?? this.#topics.get(key);
    if (topic === undefined) return "strange";
    return topic === this.#topic ? "topic" : undefined;
  }

  #changes(
    clients: Iterable<number>,
    tokens: Map<string, Token | undefined>,
    line: number,
    kind: string,
    frame: Members | undefined,
    sender: number,
  ): void {
    const touched = new Set(clients);
    for (const [key, old] of tokens) {
      for (const id of [old?.holder, this.#state.tokens.get(key)?.holder])
        if (id !== undefined) touched.add(id);
    }
    for (const id of touched) {
      const life = this.#lives.get(id);
      if (life === undefined) continue;
      const client = this.#state.clients.get(id);
      if (client === undefined) continue;
      const isIn = this.#state.isSubscribed(id, this.#topic);
      if (isIn && life.since === undefined) {
        life.since = line;
        delete life.waiting;
      } else if (!isIn && life.since !== undefined) {
        life.left = { line, text: howLeft(kind, id === sender ? frame : undefined) };
        delete life.since;
      }
    }
  }

  #line(
    line: number,
    sender: number,
    frame: Members | undefined,
    wanted: "topic" | "strange" | undefined,
    group: number,
  ): void {
    const recording = this.#recording;
    switch (recording.kind(line)) {
      case "client_closed": {
        const id = number(recording.parse(line)?.["client"]);
        this.#close(id, line, "its socket closed", group);
        break;
      }
      case "close": {
        const action = recording.parse(line) ?? {};
        const reason = `${number(action["code"])} ${bytesText(action["reason"])}`.trim();
        this.#close(number(action["client"]), line, `Sidekick closed it: ${reason}`, group);
        break;
      }
      case "client_lagging": {
        const life = this.#lives.get(number(recording.parse(line)?.["client"]));
        if (this.isAfter && life?.sent !== undefined && life.isAlive !== true)
          life.failed ??= { line, text: "its socket was lagging" };
        break;
      }
      case "send":
        this.#send(line, sender, frame, wanted);
        break;
      default:
        break;
    }
    if (this.isAfter && recording.kind(line) === "attach_client") {
      const id = number(recording.parse(line)?.["client"]);
      const life = this.#lives.get(id);
      if (life !== undefined && life.late === undefined && life.sent === undefined) {
        const first = recording.firstLine(group);
        if (this.#state.isSubscribed(id, this.#topic)) life.late = first;
      }
    }
  }

  #send(
    line: number,
    sender: number,
    frame: Members | undefined,
    wanted: "topic" | "strange" | undefined,
  ): void {
    const recording = this.#recording;
    const life = this.#lives.get(sender);
    if (this.isAfter) {
      if (life === undefined || frame?.["type"] !== "subscribe" || this.message === undefined)
        return;
      const sent = membersOf(bytesText(recording.parse(line)?.["text"]));
      if (sent?.["type"] === "message" && dataOf(sent) === this.message) life.recovered ??= line;
      return;
    }
    if (!recording.isError(line)) return;
    const action = recording.parse(line);
    const message = membersOf(bytesText(action?.["text"]));
    const error = isMembers(message?.["error"]) ? message["error"] : {};
    const text = bytesText(error["message"]);
    if (life !== undefined && wanted !== undefined && clientsOf(action).includes(sender)) {
      if (life.since !== undefined) return;
      if (wanted === "strange") life.strange = { line, text };
      else life.refused = { line, text: text + this.#about(frame?.["token"]) };
      return;
    }
    // A subscribe that waited for the engine fails later, in another input.
    for (const id of clientsOf(action)) {
      const other = this.#lives.get(id);
      if (other?.waiting === undefined) continue;
      delete other.waiting;
      other.refused = { line, text };
    }
  }

  /** Facts of the recording about a token that was refused. */
  #about(key: unknown): string {
    if (typeof key !== "string") return "";
    const token = this.#state.tokens.get(key);
    if (token?.holder !== undefined) return ` (client ${token.holder} holds it)`;
    const gone = this.#gone.get(key);
    return gone === undefined ? "" : ` (it was erased at line ${gone + 1})`;
  }

  #close(id: number, line: number, text: string, group: number): void {
    const life = this.#lives.get(id);
    if (life === undefined || life.closed !== undefined) return;
    if (!this.isAfter) {
      life.closed = { line, text };
      return;
    }
    const isSilent = this.#recording.time(group) - this.time <= SILENCE_MS && !this.#isStopping;
    if (life.sent !== undefined && life.isAlive !== true && isSilent)
      life.failed ??= { line, text };
  }

  #alive(kind: string, first: number, sender: number): void {
    if (!this.isAfter || kind !== "client_frame") return;
    const life = this.#lives.get(sender);
    if (life !== undefined && first >= 0) life.isAlive = true;
  }

  #isAnswered(first: number, end: number, client: number): boolean {
    for (let line = first + 1; line < end; line++) {
      const kind = this.#recording.kind(line);
      if (kind === "send" && clientsOf(this.#recording.parse(line)).includes(client)) return true;
      if (kind === "close") return true;
    }
    return false;
  }
}

function howLeft(kind: string, frame: Members | undefined): string {
  switch (frame?.["type"]) {
    case "unsubscribe":
      return "it unsubscribed";
    case "unlisten":
      return "it sent unlisten";
    case "subscribe":
    case "listen":
    case "send":
      return "it lost its token: another connection holds it, or it was erased";
    default:
      break;
  }
  switch (kind) {
    case "not_stored":
      return "the change could not be stored";
    case "client_frame":
      return "another connection took over its session";
    case "engine_answer":
    case "engine_message":
      return "the engine gave its token to another connection, or the token was erased";
    default:
      return "its token expired or was erased";
  }
}

/** Exactly one answer: the first that applies. */
function answerOf(client: number, life: Life, topic: string, publish: Publish): Answer {
  const since = life.since;
  const answer = (reason: Reason, line: number | undefined, text: string): Answer => ({
    ...{ client, reason, line, text, since },
  });
  if (life.sent !== undefined) {
    if (life.failed !== undefined) {
      return answer(
        "lost",
        life.failed.line,
        `Sent at line ${life.sent + 1}, but it may not have arrived: ${life.failed.text}.`,
      );
    }
    return answer("delivered", life.sent, "Delivered.");
  }
  if (life.recovered !== undefined)
    return answer("recovered", life.recovered, "Delivered later, when it subscribed again.");
  if (publish.rejected !== undefined) {
    const { line, text } = publish.rejected;
    return answer("rejected", line, `The publish was rejected with ${text}`);
  }
  if (life.isOpenedLater === true)
    return answer("not_open_yet", life.opened, "Not connected yet: it opened later.");
  if (life.closed !== undefined)
    return answer("closed", life.closed.line, `No longer connected: ${life.closed.text}.`);
  if (since !== undefined) {
    if (publish.absent !== undefined)
      return answer("engine", publish.absent.line, publish.absent.text);
    const text =
      "Subscribed, but the recording ends before the hub acted: it was stopped or failed.";
    return answer("cut", publish.line, text);
  }
  if (life.waiting !== undefined) {
    const text = "Not subscribed yet: its subscribe waited for the engine.";
    return answer("waiting", life.waiting, text);
  }
  if (life.refused !== undefined && (life.left === undefined || life.left.line < life.refused.line))
    return answer("refused", life.refused.line, `Its subscribe was refused: ${life.refused.text}.`);
  if (life.left !== undefined)
    return answer("left", life.left.line, `Left before: ${life.left.text}.`);
  if (life.strange !== undefined) {
    const { line, text: error } = life.strange;
    const text = `Its subscribe with a token that was never registered here was refused: ${error}.`;
    return answer("refused", line, text);
  }
  if (life.late !== undefined)
    return answer("late", life.late, "Not subscribed yet: it subscribed later.");
  return answer("never", undefined, `Never subscribed. ${subscribedTo(life.topics, topic)}`);
}

/** A name that is nearly right comes first. */
function subscribedTo(topics: readonly string[], topic: string): string {
  if (topics.length === 0) return "It is subscribed to nothing.";
  const sorted = topics
    .slice(0, 1000)
    .map((name) => ({ name, distance: distance(name, topic) }))
    .sort((a, b) => a.distance - b.distance);
  const nearest = sorted[0]!;
  if (nearest.distance <= Math.max(3, topic.length / 3))
    return `Nearest: it is subscribed to ${shownTopic(nearest.name)}.`;
  const shown = sorted.slice(0, SHOWN_TOPICS).map(({ name }) => shownTopic(name));
  const more = topics.length > SHOWN_TOPICS ? ` and ${topics.length - SHOWN_TOPICS} more` : "";
  return `It is subscribed to ${shown.join(", ")}${more}.`;
}

const DISTANCE_LENGTH = 200;

/** Levenshtein's. */
export function distance(left: string, right: string): number {
  const [a, b] = [left.slice(0, DISTANCE_LENGTH), right.slice(0, DISTANCE_LENGTH)];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost));
    }
    row = next;
  }
  return row[b.length]!;
}
