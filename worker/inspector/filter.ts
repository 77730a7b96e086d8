// The filter of the list: `client:7 topic:chat/roomId:1 token:ab type:send error text:"..."`. All
// terms must match lines of one input with its actions; a term with `-` must match none of them.
import {
  bytesText,
  channelTopic,
  isMembers,
  type Members,
  membersOf,
  resourceTopic,
  shown,
  shownTopic,
  strings,
  topicsOf,
} from "./message.js";
import type { Recording } from "./recording.js";

export interface Filter {
  /** What is wrong with the text, or "". */
  readonly error: string;
  readonly isEmpty: boolean;
  /** Whether a group matches. */
  matches(recording: Recording, group: number): boolean;
}

/** Gets a group's text, with all its lines, and the group. */
type Test = (text: string, recording: Recording, group: number) => boolean;

export function filterOf(text: string): Filter {
  const tests: { readonly test: Test; readonly isNot: boolean }[] = [];
  let error = "";
  for (const match of text.matchAll(/(-?)(?:([a-z]+):)?(?:"((?:[^"\\]|\\.)*)"?|(\S+))/g)) {
    const [, minus, key, inQuotes, plain] = match;
    const value = inQuotes === undefined ? (plain ?? "") : unquoted(inQuotes);
    const test = testOf(key, value, inQuotes !== undefined);
    if (typeof test === "string") error ||= test;
    else tests.push({ test, isNot: minus === "-" });
  }
  return {
    error,
    isEmpty: tests.length === 0,
    matches(recording, group) {
      const from = recording.firstLine(group);
      const to = recording.endLine(group);
      let whole = "";
      for (let line = from; line < to; line++) whole += `${recording.text(line)}\n`;
      return tests.every(({ test, isNot }) => test(whole, recording, group) !== isNot);
    },
  };
}

/** A value as a term has it. Marks would hide or reorder the terms around it: it escapes them. */
export function quoted(text: string): string {
  if (/^[^\s"\\]+$/.test(text) && shown(text) === text) return text;
  return `"${shown(text.replace(/["\\]/g, "\\$&"))}"`;
}

function unquoted(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))/gs,
    (_, byte?: string, unit?: string, character?: string) =>
      character ?? String.fromCharCode(Number.parseInt(byte ?? unit!, 16)),
  );
}

function testOf(key: string | undefined, value: string, isQuoted: boolean): Test | string {
  switch (key) {
    case undefined:
      return !isQuoted && value === "error" ? isError : includes(value);
    case "text":
      return includes(value);
    case "client": {
      if (!/^\d+$/.test(value)) return `client: expected a number, found "${value}"`;
      return pattern(`"client":${value}[,}]|"clients":\\[(?:[\\d,]*,)?${value}[,\\]]`);
    }
    case "request":
    case "forward":
    case "call":
      if (!/^\d+$/.test(value)) return `${key}: expected a number, found "${value}"`;
      return pattern(`"${key}":${value}[,}]`);
    case "status":
      return pattern(`"status":${quote(value)}[,}]`);
    case "type":
      return pattern(`"(?:in|out)":"${quote(value)}"|\\\\"type\\\\" *: *\\\\"${quote(value)}\\\\"`);
    case "token":
      return named(value, (line) => tokensIn(line).some((token) => token.startsWith(value)));
    case "topic":
      return named(value, (line) => topicsIn(line).some((name) => isAt(shownTopic(name), value)));
    case "error": {
      const code = pattern(`"(?:code|why)":"${quote(value)}"}`);
      return (text, recording, group) =>
        isError(text, recording, group) && code(text, recording, group);
    }
    default:
      return includes(`${key}:${value}`);
  }
}

const isError: Test = (_text, recording, group) => {
  for (let line = recording.firstLine(group); line < recording.endLine(group); line++)
    if (recording.isError(line)) return true;
  return false;
};

function pattern(source: string): Test {
  const expression = new RegExp(source);
  return (text) => expression.test(text);
}

/** Messages are strings within a line, so quotes are escaped once or twice. Ignores case. */
function includes(value: string): Test {
  const forms = new Set([value, escapedOnce(value), escapedOnce(escapedOnce(value))]);
  const expression = new RegExp([...forms].map(quote).join("|"), "i");
  return (text) => expression.test(text);
}

/** Parses only lines that contain the longest word of the name: nothing escapes its characters. */
function named(name: string, isIn: (line: Members) => boolean): Test {
  const word = name.split(/[^\w-]+/).reduce((a, b) => (b.length > a.length ? b : a));
  const test = includes(word);
  return (text, recording, group) => {
    if (!test(text, recording, group)) return false;
    for (let line = recording.firstLine(group); line < recording.endLine(group); line++) {
      const members = recording.parse(line);
      if (members !== undefined && isIn(members)) return true;
    }
    return false;
  };
}

/** `chat` matches all of its params. */
function isAt(found: string, value: string): boolean {
  return found === value || found.startsWith(`${value}/`) || found.startsWith(`${value},`);
}

function topicsIn(line: Members): string[] {
  const found = strings(line["topics"]);
  if (typeof line["topic"] === "string") found.push(line["topic"]);
  for (const message of messagesIn(line)) found.push(...topicsOf(message));
  for (const record of recordsIn(line)) {
    const channel = channelTopic(record["channel"], record["params"]);
    if (channel !== undefined) found.push(channel);
    for (const name of strings(record["resources"])) found.push(resourceTopic(name));
  }
  return found;
}

function tokensIn(line: Members): string[] {
  const found = [line["key"], ...strings(line["args"]), ...strings(line["values"])];
  for (const message of messagesIn(line)) {
    found.push(message["token"]);
    if (isMembers(message["error"])) found.push(message["error"]["token"]);
  }
  for (const record of recordsIn(line))
    found.push(...strings(record["tokens"]), ...strings(record["tokens_gone"]));
  return strings(found);
}

function messagesIn(line: Members): Members[] {
  return objectsIn([line["bytes"], line["text"], line["body"]]);
}

/** The record of a client has one for each addition. */
function recordsIn(line: Members): Members[] {
  return objectsIn(bytesText(line["record"]).split("\n"));
}

function objectsIn(texts: readonly unknown[]): Members[] {
  const objects = texts.map(bytesText).map((text) => (text === "" ? undefined : membersOf(text)));
  return objects.filter((object) => object !== undefined);
}

function escapedOnce(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
