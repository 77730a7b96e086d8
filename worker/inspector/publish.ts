// A publish: the topics that it names, the actions that deliver it and, with an engine, why it did
// not come back to this Sidekick.
import type { Members } from "./message.js";
import {
  bytesText,
  channelTopic,
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
  const path = bytesText(input["path"]);
  if (bytesText(input["method"]) !== "POST") return [];
  const body = membersOf(bytesText(input["body"]));
  if (body === undefined) return [];
  if (path === "/message") {
    const topic = channelTopic(body["channel"], body["params"]);
    return topic === undefined ? [] : [topic];
  }
  return path === "/resources" ? [...new Set(strings(body["resources"]).map(resourceTopic))] : [];
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
  /** Of a channel: the text as it is sent, without its end. */
  message: string | undefined;

  constructor(
    recording: Recording,
    group: number,
    topic: string,
    hub: { readonly from: number; readonly to: number },
  ) {
    const input = recording.parse(recording.firstLine(group)) ?? {};
    let delivery: number | undefined = group;
    if (input["in"] === "http_request") {
      const request = number(input["request"]);
      const { stamp, call, respond } = this.#follow(recording, group, topic, request, hub.to);
      const isEngine = enginesOf(recording, hub.from) > 0;
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
        this.absent = absence(recording, call ?? group, hub.to, stamp);
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
      const text = bytesText(recording.parse(line)?.["text"]);
      const message = membersOf(text);
      const type = message?.["type"];
      if (message === undefined || (type !== "message" && type !== "updated")) continue;
      if (!topicsOf(message).includes(topic)) continue;
      this.sends.push(line);
      if (type === "message") this.message ??= dataOf(message);
    }
    if (input["in"] === "http_request" && this.message === undefined) {
      const body = membersOf(bytesText(input["body"]));
      if (body !== undefined && topic.startsWith("channel:")) this.message = dataOf(body);
    }
  }

  /** The call to the engine and its stamp, and the answer to the request. */
  #follow(recording: Recording, group: number, topic: string, request: number, to: number) {
    let call: number | undefined;
    let callId: unknown;
    let stamp = "";
    for (let line = recording.firstLine(group); line < recording.endLine(to - 1); line++) {
      const kind = recording.kind(line);
      if (kind === "engine_run" && callId === undefined) {
        const run = recording.parse(line);
        const args = strings(run?.["args"]);
        const isOurs =
          (run?.["script"] === "message" && args[0] === topic) ||
          (run?.["script"] === "update" && args.includes(topic, 1));
        if (isOurs) {
          call = recording.groupOf(line);
          callId = run?.["call"];
        }
      } else if (kind === "engine_answer" && callId !== undefined && stamp === "") {
        const answer = recording.parse(line);
        if (answer?.["call"] === callId) stamp = bytesText((answer?.["values"] as unknown[])?.[0]);
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
}

/** Why a message that the engine got did not come back to this hub. */
function absence(recording: Recording, from: number, to: number, stamp: string) {
  for (let at = from; at < to; at++) {
    const line = recording.firstLine(at);
    if (recording.kind(line) === "engine_down") {
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

function flat(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    return ""; // too deep
  }
}
