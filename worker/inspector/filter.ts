// The filter of the list: `client:7 topic:chat/roomId:1 token:ab type:send error text:"..."`. All
// terms must match lines of one input with its actions; a term with `-` must match none of them.
import {
  bytesText,
  channelTopic,
  type Members,
  membersOf,
  resourceTopic,
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
    const [, minus, key, quoted, plain] = match;
    const value = quoted === undefined ? (plain ?? "") : quoted.replace(/\\(.)/g, "$1");
    const test = testOf(key, value, quoted !== undefined);
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

function testOf(key: string | undefined, value: string, isQuoted: boolean): Test | string {
  switch (key) {
    case undefined:
      return !isQuoted && value === "error" ? isError : includes(value);
    case "text":
      return includes(value);
    case "client": {
      if (!/^\d+$/.test(value)) return `client: expected a number, found "${value}"`;
      return pattern(`"client":${value}[,}]|"clients":\\[(?:\\d+,)*${value}[,\\]]`);
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
    case "token": {
      const start = `${quote(escapedOnce(value))}`;
      const list = `(?:[^\\]"\\\\]|\\\\.)*?`;
      return pattern(
        `"key":"${start}|token\\\\" *: *\\\\"${start}` +
          `|tokens(?:_gone)?\\\\" *: *\\[${list}\\\\"${start}` +
          `|"(?:args|values)":\\[(?:[^\\]]*,)?"${start}`,
      );
    }
    case "topic":
      return topic(value);
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

function topic(value: string): Test {
  const name = value.split("/", 1)[0]!;
  const word = includes(name);
  return (text, recording, group) => {
    if (!word(text, recording, group)) return false;
    for (let line = recording.firstLine(group); line < recording.endLine(group); line++) {
      const members = recording.parse(line);
      if (members === undefined) continue;
      if (topicsIn(members).some((found) => isAt(shownTopic(found), value))) return true;
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
  for (const name of ["bytes", "text", "body"] as const) {
    const message = membersOf(bytesText(line[name]));
    if (message !== undefined) found.push(...topicsOf(message));
  }
  const record = bytesText(line["record"]);
  for (const part of record === "" ? [] : record.split("\n")) {
    const members = membersOf(part);
    const channel = channelTopic(members?.["channel"], members?.["params"]);
    if (channel !== undefined) found.push(channel);
    for (const name of strings(members?.["resources"])) found.push(resourceTopic(name));
  }
  return found;
}

function escapedOnce(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
