// A publish: the topics that it names, the actions that deliver it and, with an engine, why it did
// not come back to this Sidekick.
import type { Members } from "./message.js";
import {
  bytesText,
  channelTopic,
  flat,
  isMembers,
  membersOf,
  number,
  resourceTopic,
  strings,
  topicsOf,
} from "./message.js";
import type { Recording } from "./recording.js";

/** The topics that this group publishes to; none: it publishes nothing. */
export function publishedTopics(recording: Recording, group: number): string[] {
  const line = recording.firstLine(group);
  const kind = recording.kind(line);
  if (kind !== "http_request" && kind !== "engine_message") return [];
  const input = recording.parse(line);
  if (input === undefined) return [];
  if (kind === "engine_message") {
    const topic = bytesText(input["topic"]);
    return topic === "" ? [] : [topic];
  }
  const path = pathOf(bytesText(input["path"]));
  if (bytesText(input["method"]) !== "POST") return [];
  const body = membersOf(bytesText(input["body"]));
  if (body === undefined) return [];
  if (path === "/message") {
    const topic = channelTopic(body["channel"], body["params"]);
    return topic === undefined ? [] : [topic];
  }
  return path === "/resources" ? [...new Set(strings(body["resources"]).map(resourceTopic))] : [];
}

/** As the hub reads the target of a request: without origin and query. */
function pathOf(target: string): string {
  return target.replace(/^(?:https?|wss?):\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
}

/** Where a message came in, and where it went out. */
export class Publish {
  /** The group in which the hub sends it: with an engine, a later one. */
  readonly group: number;
  readonly line: number;
  /** The lines of the actions that send it. */
  readonly sends: number[] = [];
  readonly rejected: { readonly line: number; readonly text: string } | undefined;
  /** With an engine: why it did not come back to this hub. */
  readonly absent: { readonly line: number; readonly text: string } | undefined;
  /** Of a channel: what it says. */
  readonly #message: string | undefined;
  readonly #topic: string;
  /** The engine's, or as clients that said hello are told; "" if the recording does not show it. */
  readonly #stamp: string;
  /** Whether the message exists although it was not delivered. */
  readonly #isThere: boolean;

  constructor(
    recording: Recording,
    group: number,
    topic: string,
    hub: { readonly from: number; readonly to: number },
  ) {
    const input = recording.parse(recording.firstLine(group)) ?? {};
    const isEngine = enginesOf(recording, hub.from) > 0;
    let delivery: number | undefined = group;
    let message: string | undefined;
    let stamp = bytesText(input["body"]).split(" ", 1)[0]!;
    if (input["in"] === "http_request") {
      const body = topic.startsWith("channel:") ? membersOf(bytesText(input["body"])) : undefined;
      message = body === undefined ? undefined : dataOf(body);
      const followed = follow(recording, group, topic, message, hub.to);
      const { call, respond } = followed;
      stamp = followed.stamp;
      if (isEngine) {
        delivery = undefined;
        for (let at = group; at < hub.to && delivery === undefined && stamp !== ""; at++) {
          const line = recording.firstLine(at);
          if (recording.kind(line) !== "engine_message") continue;
          const message = recording.parse(line);
          if (message === undefined || bytesText(message["topic"]) !== topic) continue;
          if (bytesText(message["body"]).split(" ", 1)[0] === stamp) delivery = at;
        }
      }
      if (respond !== undefined && respond.status >= 400) this.rejected = respond;
      if (isEngine && delivery === undefined) {
        this.absent = absence(recording, call, group, hub.to, stamp);
      }
    }
    this.group = delivery ?? group;
    this.line = recording.firstLine(group);
    for (
      let line = recording.firstLine(this.group);
      line < recording.endLine(this.group) && delivery !== undefined;
      line++
    ) {
      if (recording.kind(line) !== "send") continue;
      const sent = membersOf(bytesText(recording.parse(line)?.["text"]));
      const type = sent?.["type"];
      if (sent === undefined || (type !== "message" && type !== "updated")) continue;
      if (!topicsOf(sent).includes(topic)) continue;
      this.sends.push(line);
      if (type !== "message") continue;
      message ??= dataOf(sent);
      if (typeof sent["at"] === "number") stamp ||= String(sent["at"]);
    }
    this.#topic = topic;
    this.#stamp = stamp;
    this.#isThere = isEngine || this.rejected === undefined;
    // Of another Sidekick's message that was not sent at once.
    this.#message = message ?? messageOf(input, topic);
  }

  /** Whether a later message to a client tells what was published. */
  isIn(sent: Members | undefined): boolean {
    if (sent === undefined || !this.#isThere) return false;
    if (sent["type"] === "updated") return topicsOf(sent).includes(this.#topic);
    if (sent["type"] === "listening")
      return strings(sent["changed"]).some((name) => resourceTopic(name) === this.#topic);
    if (sent["type"] !== "message" || dataOf(sent) !== this.#message) return false;
    const { at } = sent;
    return typeof at !== "number" || this.#stamp === "" || this.#stamp === String(at);
  }
}

function messageOf(input: Members, topic: string): string | undefined {
  if (input["in"] !== "engine_message" || !topic.startsWith("channel:")) return undefined;
  const text = bytesText(input["body"]);
  const message = membersOf(text.slice(text.indexOf(" ") + 1));
  return message === undefined ? undefined : dataOf(message);
}

interface Call {
  readonly group: number;
  readonly id: unknown;
  readonly shard: unknown;
}

/** The call to the engine and its stamp, and the answer to the request. */
function follow(
  recording: Recording,
  group: number,
  topic: string,
  message: string | undefined,
  to: number,
) {
  const request = recording.parse(recording.firstLine(group))?.["request"];
  let call: Call | undefined;
  let stamp = "";
  for (let line = recording.firstLine(group); line < recording.endLine(to - 1); line++) {
    const kind = recording.kind(line);
    if (kind === "engine_run" && call === undefined) {
      const run = recording.parse(line) ?? {};
      if (isPublishing(run, topic, message))
        call = { group: recording.groupOf(line), id: run["call"], shard: run["shard"] };
    } else if (kind === "engine_answer" && call !== undefined && stamp === "") {
      const answer = recording.parse(line);
      if (answer?.["call"] === call.id) stamp = bytesText((answer?.["values"] as unknown[])?.[0]);
    } else if (kind === "respond") {
      const respond = recording.parse(line);
      if (respond?.["request"] !== request) continue;
      const status = number(respond?.["status"]);
      const text = `${status}: ${bytesText(respond?.["body"])}`;
      return { call, stamp, respond: { line, status, text } };
    }
  }
  return { call, stamp, respond: undefined };
}

function isPublishing(run: Members, topic: string, message: string | undefined): boolean {
  const args = strings(run["args"]);
  if (run["script"] === "update") return args.includes(topic, 1);
  if (run["script"] !== "message" || args[0] !== topic) return false;
  const sent = membersOf(args[1] ?? "");
  return sent !== undefined && dataOf(sent) === message;
}

/** Why a message that the engine got did not come back to this hub. */
function absence(
  recording: Recording,
  call: Call | undefined,
  group: number,
  to: number,
  stamp: string,
) {
  const from = call?.group ?? group;
  for (let at = from; at < to; at++) {
    const line = recording.firstLine(at);
    if (recording.kind(line) !== "engine_down") continue;
    if (call === undefined || recording.parse(line)?.["shard"] === call.shard) {
      return { line, text: "The connection to the engine was lost before the message came back." };
    }
  }
  const line = recording.firstLine(from);
  return {
    line,
    text:
      stamp === ""
        ? "The recording ends before the engine answered."
        : "The recording ends before the message came back from the engine.",
  };
}

function enginesOf(recording: Recording, header: number): number {
  const config = recording.parse(recording.firstLine(header))?.["config"];
  return isMembers(config) ? number(config["engine_shards"]) : 0;
}

export function clientsOf(action: Members | undefined): number[] {
  const clients = action?.["clients"];
  return Array.isArray(clients) ? clients.filter((id) => typeof id === "number") : [];
}

/** Two messages of one channel with this value are the same. */
export function dataOf(message: Members): string {
  const topic = channelTopic(message["channel"], message["params"]);
  return `${topic} ${flat(message["data"])}`;
}
