// Why did a client get a message, or not? One answer for each client of the hub: rules over the
// fold, in the order of `answerOf`. Each answer names the line that proves it.
import type { Token } from "./fold.js";
import { applyGroup, State } from "./fold.js";
import type { Members } from "./message.js";
import { bytesText, isMembers, membersOf, number, resourceTopic, strings } from "./message.js";
import { subscribedTo } from "./nearest.js";
import { clientsOf, Publish, publishedTopics } from "./publish.js";
import type { Recording } from "./recording.js";

/** In the order in which the answers are shown. */
export const REASONS = [
  "delivered",
  "recovered", // delivered later, when it subscribed or the engine was back
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

/** Facts about one client until the message, and a little after it. */
interface Life {
  opened: number;
  closed?: { line: number; text: string };
  since?: number;
  left?: { line: number; text: string };
  refused?: { line: number; text: string };
  /** A subscribe with a token that nobody registered, so its topic is not known. */
  strange?: { line: number; text: string };
  waiting?: { line: number; id: unknown };
  topics: readonly string[];
  sent?: number;
  failed?: { line: number; text: string };
  /** It has sent something after the message, so its socket was alive. */
  isAlive?: boolean;
  recovered?: number;
  late?: number;
  isOpenedLater?: boolean;
  /** The recording does not show what it did before. */
  isRestored: boolean;
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
  tracker.publish = publish;
  tracker.time = recording.time(publish.group);
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
  /** Set after it. */
  publish: Publish | undefined;
  time = 0;
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
    if (kind === "client_opened" || kind === "restore_client") this.#open(first, kind);
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
    if (isUnanswered && !this.#isAnswered(first, end, sender))
      life.waiting = { line: first, id: frame?.["id"] };
  }

  get isAfter(): boolean {
    return this.publish !== undefined;
  }

  #open(line: number, kind: string): void {
    const id = number(this.#recording.parse(line)?.["client"]);
    if (this.isAfter && this.#lives.has(id)) return;
    this.#lives.set(id, {
      opened: line,
      topics: [],
      isOpenedLater: this.isAfter,
      isRestored: kind === "restore_client",
    });
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
        this.#close(id, line, "its socket closed", group, false);
        break;
      }
      case "close": {
        const action = recording.parse(line) ?? {};
        const reason = `${number(action["code"])} ${bytesText(action["reason"])}`.trim();
        const text = `Sidekick closed it: ${reason}`;
        this.#close(number(action["client"]), line, text, group, action["why"] === "stopping");
        break;
      }
      case "client_lagging": {
        const life = this.#lives.get(number(recording.parse(line)?.["client"]));
        if (this.isAfter && life?.sent !== undefined && life.isAlive !== true)
          life.failed ??= { line, text: "its socket was lagging" };
        break;
      }
      case "send":
        if (this.publish === undefined) this.#error(line, sender, frame, wanted);
        else this.#later(line, group, this.publish);
        break;
      case "attach_client":
      case "touch_token":
        if (this.isAfter) this.#late(line, group);
        break;
      default:
        break;
    }
  }

  /** A client that is subscribed now, and was not before. */
  #late(line: number, group: number): void {
    const { client, key } = this.#recording.parse(line) ?? {};
    const id = key === undefined ? number(client) : this.#state.tokens.get(bytesText(key))?.holder;
    const life = id === undefined ? undefined : this.#lives.get(id);
    if (id === undefined || life === undefined || life.sent !== undefined) return;
    if (this.#state.isSubscribed(id, this.#topic)) life.late ??= this.#recording.firstLine(group);
  }

  /** What was missed comes when a client subscribes, or when the engine is back. */
  #later(line: number, group: number, publish: Publish): void {
    const kind = this.#recording.kind(this.#recording.firstLine(group));
    if (kind === "http_request" || kind === "engine_message") return; // of another publish
    const action = this.#recording.parse(line);
    if (!publish.isIn(membersOf(bytesText(action?.["text"])))) return;
    for (const id of clientsOf(action)) {
      const life = this.#lives.get(id);
      if (life !== undefined) life.recovered ??= line;
    }
  }

  #error(
    line: number,
    sender: number,
    frame: Members | undefined,
    wanted: "topic" | "strange" | undefined,
  ): void {
    const recording = this.#recording;
    if (!recording.isError(line)) return;
    const life = this.#lives.get(sender);
    const action = recording.parse(line);
    const message = membersOf(bytesText(action?.["text"]));
    const error = isMembers(message?.["error"]) ? message["error"] : {};
    const text = bytesText(error["message"]);
    const code = bytesText(action?.["code"]);
    if (life !== undefined && wanted !== undefined && clientsOf(action).includes(sender)) {
      if (life.since !== undefined) return;
      const about = code === "token" ? this.#about(frame?.["token"]) : "";
      if (wanted === "strange") life.strange = { line, text };
      else life.refused = { line, text: text + about };
      return;
    }
    // A subscribe that waited for the engine fails later, in another input. The app server's error,
    // and that of another frame, is of another message.
    if (code.startsWith("app")) return;
    for (const id of clientsOf(action)) {
      const other = id === sender ? undefined : this.#lives.get(id);
      if (other?.waiting === undefined || other.waiting.id !== message?.["id"]) continue;
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

  #close(id: number, line: number, text: string, group: number, isOrderly: boolean): void {
    const life = this.#lives.get(id);
    if (life === undefined || life.closed !== undefined) return;
    if (!this.isAfter) {
      life.closed = { line, text };
      return;
    }
    if (isOrderly) life.isAlive = true; // its last messages come before the close
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
  if (life.recovered !== undefined) {
    const when =
      since === undefined ? "when it subscribed" : "when the connection to the engine was back";
    return answer("recovered", life.recovered, `Delivered later, ${when}.`);
  }
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
    return answer("waiting", life.waiting.line, text);
  }
  if (life.refused !== undefined && (life.left === undefined || life.left.line < life.refused.line))
    return answer("refused", life.refused.line, `Its subscribe was refused: ${life.refused.text}.`);
  if (life.left !== undefined)
    return answer("left", life.left.line, `Left before: ${life.left.text}.`);
  if (life.strange !== undefined) {
    const { line, text: error } = life.strange;
    const text = `Its subscribe with a token that this recording lacks was refused: ${error}.`;
    return answer("refused", line, text);
  }
  if (life.late !== undefined)
    return answer("late", life.late, "Not subscribed yet: it subscribed later.");
  const others = subscribedTo(life.topics, topic);
  return life.isRestored
    ? answer("never", life.opened, `Not subscribed when it was restored, nor since. ${others}`)
    : answer("never", undefined, `Never subscribed. ${others}`);
}
