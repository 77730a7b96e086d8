// Summarizes a line of a recording in one line.
import type { Members } from "./message.js";
import {
  bytesText,
  channelTopic,
  cut,
  flat,
  isMembers,
  membersOf,
  number,
  plain,
  Raw,
  shown,
  shownTopic,
  strings,
} from "./message.js";
import type { Row, Tone } from "./protocol.js";
import type { Kind, Recording } from "./recording.js";

/** Longer lines are not parsed for the list. */
const PARSED_BYTES = 64 * 1024;
const SHOWN = 300;

export function toneOf(kind: Kind, isError: boolean): Tone {
  if (isError) return "error";
  switch (kind) {
    case "trace":
      return "header";
    case "broken":
    case "gap":
      return "broken";
    case "client_opened":
    case "client_frame":
    case "client_closed":
    case "client_lagging":
      return "client";
    case "http_request":
    case "forward_done":
    case "respond":
    case "forward":
    case "cancel_forward":
      return "http";
    case "engine_up":
    case "engine_down":
    case "engine_answer":
    case "engine_message":
    case "engine_run":
    case "engine_join":
    case "engine_leave":
      return "engine";
    case "send":
    case "close":
      return "send";
    case "put_token":
    case "erase_token":
    case "attach_client":
    case "touch_token":
      return "store";
    case "hash":
    case "set_timer":
      return "note";
    case "timer_fired":
    case "restore_token":
    case "restore_client":
    case "shutting_down":
    case "begin":
    case "restored":
    case "not_stored":
    case "draining":
      return "host";
  }
}

export function rowOf(recording: Recording, line: number, isMatch: boolean): Row {
  const kind = recording.kind(line);
  const members = recording.length(line) > PARSED_BYTES ? undefined : recording.parse(line);
  const isBroken = members === undefined && recording.length(line) <= PARSED_BYTES;
  const text =
    members === undefined
      ? recording.textStart(line, SHOWN)
      : textOf(isBroken ? "broken" : kind, members);
  return {
    line,
    isInput: recording.isInput(line),
    isMatch,
    tone: isBroken ? "broken" : toneOf(kind, recording.isError(line)),
    time: recording.time(recording.groupOf(line)),
    kind: isBroken ? "broken" : kind,
    who: members === undefined ? "" : shown(cut(whoOf(members), SHOWN)),
    text: shown(cut(text, SHOWN)),
  };
}

function whoOf(members: Members): string {
  const clients = members["clients"];
  if (Array.isArray(clients)) {
    const shownClients = clients.length > 3 ? 2 : 3;
    const first = clients.slice(0, shownClients).map(plain).join(" ");
    return clients.length > 3 ? `${first} +${clients.length - shownClients}` : first;
  }
  if (members["client"] !== undefined) return plain(members["client"]);
  if (members["request"] !== undefined) return `r${plain(members["request"])}`;
  if (members["forward"] !== undefined) return `f${ending(plain(members["forward"]))}`;
  if (members["call"] !== undefined) return `e${plain(members["call"])}`;
  return "";
}

/** Ids of forwards begin with the epoch of their hub. */
function ending(id: string): string {
  return id.length > 6 ? `…${id.slice(-5)}` : id;
}

const STATES = ["free", "held", "subscribed"];
const OUTCOMES = ["", "unreachable", "broken off", "timed out", "no app server"];

export function stateName(state: number): string {
  return STATES[state] ?? String(state);
}

function textOf(kind: Kind, members: Members): string {
  const text = (name: string): string => bytesText(members[name]);
  switch (kind) {
    case "client_frame":
      return messageText(text("bytes"));
    case "send":
      return messageText(text("text"));
    case "http_request":
      return `${text("method")} ${text("path")}  ${messageText(text("body"))}`;
    case "respond":
      return `${number(members["status"])}  ${text("body")}`;
    case "forward":
      return messageText(text("body"));
    case "forward_done": {
      const outcome = OUTCOMES[number(members["outcome"])] ?? "";
      return `${outcome || number(members["status"])}  ${text("body")}`;
    }
    case "put_token":
    case "restore_token":
      return [text("key"), stateName(number(members["state"])), recordTopic(text("record"))].join(
        "  ",
      );
    case "touch_token":
      return `${text("key")}  ${stateName(number(members["state"]))}`;
    case "erase_token":
      return text("key");
    case "attach_client":
    case "restore_client":
      return text("record").trim();
    case "close":
      return `${number(members["code"])}  ${text("reason")}`;
    case "client_lagging":
      return `${number(members["buffered_bytes"])} bytes unsent`;
    case "engine_run":
      return `${text("script")}  ${strings(members["args"]).join("  ")}`;
    case "engine_join":
    case "engine_leave":
      return strings(members["topics"]).map(shownTopic).join("  ");
    case "engine_answer":
      return [members["status"] === 0 ? "" : "refused", ...strings(members["values"])]
        .join("  ")
        .trimStart();
    case "engine_message":
      return `${shownTopic(text("topic"))}  ${text("body")}`;
    case "engine_up":
      return `shard ${number(members["shard"])}${members["kept"] === 1 ? ", nothing missed" : ""}`;
    case "engine_down":
      return `shard ${number(members["shard"])}`;
    case "trace":
      return `recording of format ${plain(members["trace"])}, core ${plain(members["core"])}`;
    case "hash":
      return isMembers(members["hash"]) ? `state ${plain(members["hash"]["state"])}` : "";
    case "gap":
      return `${plain(members["gap"])} lines are missing: the page read too slowly`;
    case "set_timer":
      return members["at_ms"] === 0 ? "off" : timeText(number(members["at_ms"]));
    case "draining":
      return `for ${number(members["ms"])} ms`;
    case "begin":
      return `epoch ${number(members["epoch"])}`;
    case "not_stored":
      return text("key");
    case "client_opened":
    case "client_closed":
    case "timer_fired":
    case "shutting_down":
    case "restored":
    case "cancel_forward":
      return "";
    case "broken":
      return flat(members);
  }
}

/** `subscribe t1`, `message chat/roomId:7 "hello"`: the words that matter first. */
function messageText(text: string): string {
  const message = text.length > PARSED_BYTES ? undefined : membersOf(text);
  if (message === undefined) return text.slice(0, SHOWN);
  const words: string[] = [];
  if (typeof message["type"] === "string") words.push(message["type"]);
  if (isMembers(message["error"])) words.push(flat(message["error"]["message"]));
  const topic = channelTopic(message["channel"], message["params"]);
  if (topic !== undefined) words.push(shownTopic(topic));
  for (const [name, value] of Object.entries(message)) {
    if (name === "resource" || name === "resources") {
      words.push(typeof value === "string" ? value : strings(value).join(", "));
    } else if (name === "data" || name === "token") {
      words.push(name === "token" ? plain(value) : flat(value));
    } else if (name === "context") {
      words.push(`(context ${flat(value)})`);
    } else if (!["type", "channel", "params", "error"].includes(name)) {
      words.push(`${name}: ${flat(value)}`);
    }
  }
  return words.filter((word) => word !== "").join("  ");
}

function recordTopic(record: string): string {
  const members = membersOf(record);
  const topic = channelTopic(members?.["channel"], members?.["params"]);
  return topic === undefined ? record : shownTopic(topic);
}

export function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime())
    ? String(ms)
    : date.toISOString().replace("T", " ").slice(0, -1);
}

const DEPTH = 64;
const INDENT = "  ";

/**
 * A value as lines of text, without recursion. Deeper levels are cut off.
 * @param most so many characters are enough
 */
export function pretty(text: string, most = Number.POSITIVE_INFINITY): string | undefined {
  const members = membersOf(text);
  if (members === undefined) return undefined;
  const lines: string[] = [];
  /** Values that are still to be written, last first. */
  const due: { lead: string; value: unknown; depth: number; tail: string }[] = [
    { lead: "", value: members, depth: 0, tail: "" },
  ];
  for (let next = due.pop(); next !== undefined && lines.length <= most; next = due.pop()) {
    const { lead, value, depth, tail } = next;
    const space = INDENT.repeat(depth);
    const isList = Array.isArray(value);
    if (value === null || typeof value !== "object" || value instanceof Raw) {
      lines.push(space + lead + flat(value) + tail);
      continue;
    }
    const entries = isList
      ? value.slice(0, most).map((entry: unknown) => ["", entry] as const)
      : Object.entries(value).slice(0, most);
    const [open, close] = isList ? ["[", "]"] : ["{", "}"];
    if (entries.length === 0 || depth >= DEPTH) {
      lines.push(`${space}${lead}${open}${entries.length === 0 ? "" : "…"}${close}${tail}`);
      continue;
    }
    lines.push(space + lead + open);
    due.push({ lead: close, value: new Raw(""), depth, tail });
    for (let index = entries.length - 1; index >= 0; index--) {
      const [name, entry] = entries[index]!;
      due.push({
        lead: isList ? "" : `${JSON.stringify(name)}: `,
        value: entry,
        depth: depth + 1,
        tail: index + 1 < entries.length ? "," : "",
      });
    }
  }
  return lines.join("\n");
}
