// Texts of the log that hold what peers have sent: in one line, and harmless to terminals.

import { ACTED_ON } from "../module/printable.js";

export type LogValue = string | number | boolean | undefined;

const FIELD_CHARACTERS_MAX = 300;
const ALL_ACTED_ON = new RegExp(ACTED_ON, "gu");

export function escaped(value: string | number | boolean): string {
  if (typeof value !== "string") return String(value);
  const cut =
    value.length > FIELD_CHARACTERS_MAX ? `${value.slice(0, FIELD_CHARACTERS_MAX)}...` : value;
  return inOneLine(JSON.stringify(cut)); // JSON leaves some of them unescaped
}

/** Escapes what terminals and viewers act on: controls, line separators, bidirectional controls. */
export function inOneLine(text: string): string {
  return text.replace(
    ALL_ACTED_ON,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** One JSON object, with the newline: `time`, `level`, `message` and the fields. */
export function jsonLine(
  level: string,
  message: string,
  fields: Readonly<Record<string, LogValue>> = {},
): string {
  const members = Object.entries({ time: new Date().toISOString(), level, message, ...fields })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${escaped(value!)}`);
  return `{${members.join(",")}}\n`;
}
