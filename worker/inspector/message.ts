// Reads the texts inside a recording: messages, bodies and records. They are ION, a superset of
// JSON, and may come from anyone, so nothing here is recursive and nothing throws.

import { ACTED_ON, printable } from "../src/module/printable.js";

export type Members = Record<string, unknown>;

/** A value of ION that is not JSON, such as a date; shown as it is written. */
export class Raw {
  constructor(readonly text: string) {}
}

/** The members of an object; undefined if the text is no object. */
export function membersOf(text: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isMembers(value) ? value : undefined;
  } catch {
    return ionMembers(text);
  }
}

export function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Each value of an object in ION: parsed if it is JSON, else raw. */
function ionMembers(text: string): Members | undefined {
  const found: Members = Object.create(null) as Members;
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return undefined;
  at = skipSpace(text, at + 1);
  while (text[at] === '"') {
    const nameEnd = endOfValue(text, at);
    const name = stringOf(text.slice(at, nameEnd));
    at = skipSpace(text, nameEnd);
    if (name === undefined || text[at] !== ":") return undefined;
    at = skipSpace(text, at + 1);
    const end = endOfValue(text, at);
    if (end === at) return undefined;
    found[name] = parsed(text.slice(at, end).trimEnd());
    at = skipSpace(text, end);
    if (text[at] !== ",") break;
    at = skipSpace(text, at + 1);
  }
  return text[at] === "}" ? found : undefined;
}

function parsed(text: string): unknown {
  if (text.startsWith('"')) return stringOf(text) ?? new Raw(text);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return new Raw(text);
  }
}

/** ION accepts raw control characters inside a string, JSON does not. */
function stringOf(text: string): string | undefined {
  const escaped = text.replace(
    /[\0-\x1f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  try {
    return JSON.parse(escaped) as string;
  } catch {
    return undefined;
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\r\n".includes(text[at]!)) at++;
  return at;
}

/** Where the value at this place ends: at the next `,` `}` or `]` of its level, or `:`. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
      if (depth === 0) return at + 1;
    } else if (character === "{" || character === "[") {
      depth++;
    } else if (character === "}" || character === "]") {
      if (--depth < 0) return at;
      if (depth === 0) return at + 1;
    } else if (character === "," && depth === 0) {
      return at;
    }
  }
  return text.length;
}

// --- topics, named as the hub names them ---

export function resourceTopic(name: string): string {
  return `resource:${name}`;
}

/** Undefined if this is not a channel with params. */
export function channelTopic(channel: unknown, params: unknown): string | undefined {
  if (typeof channel !== "string" || !isMembers(params)) return undefined;
  const entries = Object.entries(params);
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === "string"))
    return undefined;
  const named = entries
    .sort(([a], [b]) => compareBytes(a, b))
    .map(([name, value]) => `${escaped(name)}:${escaped(value)}`);
  return `channel:${escaped(channel)}/${named.join(",")}`;
}

/** As the hub sorts names, by their bytes in UTF-8: in UTF-16, surrogates would not come last. */
function compareBytes(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const [left, right] = [a, b].map((text) => {
    const unit = at < text.length ? text.charCodeAt(at) : -1;
    return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
  });
  return left! - right!;
}

function escaped(text: string): string {
  return text.replace(/[,:/\\]/g, "\\$&");
}

/** As `sidekick-trace show --topic` takes it: chat/roomId:1, todo/1. */
export function shownTopic(topic: string): string {
  return topic.replace(/^(?:channel|resource):/, "").replace(/\/$/, "");
}

/** The topics that a message or a body names. */
export function topicsOf(message: Members): string[] {
  const found: string[] = [];
  const add = (from: Members): void => {
    const topic = channelTopic(from["channel"], from["params"]);
    if (topic !== undefined) found.push(topic);
  };
  add(message);
  if (isMembers(message["error"])) add(message["error"]);
  if (typeof message["resource"] === "string") found.push(resourceTopic(message["resource"]));
  for (const name of strings(message["resources"])) found.push(resourceTopic(name));
  return found;
}

export function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
}

/** Bytes in a trace are a JSON string, or {"base64":"..."} if they are not UTF-8. */
export function bytesText(value: unknown): string {
  if (typeof value === "string") return value;
  if (!isMembers(value) || typeof value["base64"] !== "string") return "";
  try {
    return atob(value["base64"]); // one character for each byte
  } catch {
    return "";
  }
}

export function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

// And characters without a width.
const HIDDEN = new RegExp(`${ACTED_ON.source}|[\\u200b-\\u200d\\u2060-\\u2065\\ufeff]`, "gu");

/** A text as it is, and any other value as JSON: its own `toString` may come from a stranger. */
export function plain(value: unknown): string {
  return typeof value === "string" ? value : flat(value);
}

export function flat(value: unknown): string {
  if (value instanceof Raw) return value.text;
  try {
    return JSON.stringify(value) ?? "";
  } catch {
    return "…"; // too deep
  }
}

export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

/** Controls and direction marks would hide or reorder what a line says. */
export function shown(text: string): string {
  return printable(text, HIDDEN);
}
