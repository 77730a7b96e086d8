// The log: one line per event, on stderr. Text from peers appears only in fields, where it is
// escaped, so that nobody can forge a line or control a terminal. Callers never pass tokens,
// secrets or message bodies. What a slow reader of stderr has not taken is bounded: further lines
// are dropped and counted.

import { escaped, jsonLine } from "../session/log-line.js";

export const LOG_LEVELS = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

/**
 * @param write receives whole lines
 * @param format json: one object per line, with `time`, `level`, `message` and the fields
 */
export function createLog(
  level: LogLevel,
  write?: (line: string) => void,
  format: LogFormat = "text",
): Log {
  const lineText = format === "json" ? jsonLine : textLine;
  write ??= boundedWriter(process.stderr, lineText);
  const enabled = LOG_LEVELS.indexOf(level);
  const at = (lineLevel: LogLevel) => {
    if (LOG_LEVELS.indexOf(lineLevel) > enabled) return () => {};
    return (message: string, fields?: LogFields) => write(lineText(lineLevel, message, fields));
  };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") };
}

function textLine(level: LogLevel, message: string, fields?: LogFields): string {
  return `${new Date().toISOString()} ${level.padEnd(5)} ${message}${fieldsText(fields)}\n`;
}

/** Text that waits for the reader of stderr. */
const UNREAD_BYTES_MAX = 256 * 1024;

export function boundedWriter(
  stream: { readonly writableLength: number; write(text: string): unknown },
  lineText: typeof textLine = textLine,
): (line: string) => void {
  let dropped = 0;
  return (line) => {
    const before =
      dropped === 0
        ? ""
        : lineText("warn", "log lines were dropped: stderr is read too slowly", { lines: dropped });
    if (stream.writableLength + before.length + line.length > UNREAD_BYTES_MAX) {
      dropped++;
      return;
    }
    dropped = 0;
    stream.write(before + line);
  };
}

const QUIET_MS = 10_000;

/**
 * Wraps a log whose warnings peers can trigger at will. The first occurrence of a message, with the
 * same `code` if it has one, is logged at once, further ones at most every 10 s, with the latest
 * fields and the number of `times` it occurred.
 */
export function limitWarnings(log: Log): Log {
  const quiet = new Map<string, { times: number; latest: LogFields | undefined }>();
  const warn = (message: string, fields?: LogFields): void => {
    const key = `${message} ${fields?.["code"]}`;
    const held = quiet.get(key);
    if (held !== undefined) {
      held.times++;
      held.latest = fields;
      return;
    }
    log.warn(message, fields);
    keepQuiet(key, message);
  };
  const keepQuiet = (key: string, message: string): void => {
    const held = { times: 0, latest: undefined as LogFields | undefined };
    quiet.set(key, held);
    setTimeout(() => {
      quiet.delete(key);
      if (held.times === 0) return;
      log.warn(message, { ...held.latest, times: held.times });
      keepQuiet(key, message);
    }, QUIET_MS).unref();
  };
  return {
    error: (message, fields) => log.error(message, fields),
    warn,
    info: (message, fields) => log.info(message, fields),
    debug: (message, fields) => log.debug(message, fields),
  };
}

function fieldsText(fields: LogFields | undefined): string {
  if (fields === undefined) return "";
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${escaped(value!)}`)
    .join("");
}
