// Logs the rejections and closes that an operator should know, with their code (docs/protocol.md).
// Peers can cause such lines at will, and each is billed. So a line of one kind appears at most
// once in ten seconds, with the number of times. No timer writes the last ones: it would keep the
// object awake.
import { ERROR_CODES } from "../module/border.generated.js";
import { ConfigError } from "../module/hub.js";
import { levelOf } from "../session/error-level.js";
import { escaped, inOneLine, jsonLine } from "../session/log-line.js";

const QUIET_MS = 10_000;

/** By what is told, for the lifetime of this isolate. */
const logged = new Map<string, { until: number; times: number }>();

export function logTold(
  message: string,
  code: number,
  fields: Readonly<Record<string, string | number>>,
): void {
  const name = ERROR_CODES[code];
  if (levelOf(name) !== "warn") return;
  logRarely(`${message} code=${name}`, message, { code: String(name), ...fields });
}

/** @param kind few in all */
export function logRarely(
  kind: string,
  message: string,
  fields: Readonly<Record<string, string | number>>,
): void {
  const line = logged.get(kind) ?? { until: 0, times: 0 };
  logged.set(kind, line);
  line.times++;
  const now = Date.now();
  if (now < line.until) return;
  const times = line.times > 1 && { times: line.times };
  logLine("warn", message, { ...fields, ...times });
  line.until = now + QUIET_MS;
  line.times = 0;
}

/** For the lifetime of this isolate: each deployment gets new ones. */
let isJson = false;

/** @throws ConfigError */
export function useLogFormat(format: string | undefined): void {
  if (format !== undefined && !["", "text", "json"].includes(format))
    throw new ConfigError(
      `SIDEKICK_LOG_FORMAT: expected text or json, got ${JSON.stringify(format)}`,
    );
  isJson = format === "json";
}

export function logLine(
  level: "warn" | "error",
  message: string,
  fields: Readonly<Record<string, string | number>> = {},
): void {
  const line = isJson
    ? jsonLine(level, message, fields).trimEnd()
    : inOneLine(message) + fieldsText(fields);
  console[level](line);
}

/** With its stack. */
export function logError(
  message: string,
  error: unknown,
  fields: Readonly<Record<string, string>> = {},
): void {
  const described = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (isJson) logLine("error", message, { ...fields, error: described });
  else console.error(`${message}${fieldsText(fields)}: ${described}`);
}

/** Needs no quotes. */
function isPlain(value: string | number): boolean {
  return /^[\w.-]*$/.test(String(value));
}

function fieldsText(fields: Readonly<Record<string, string | number>>): string {
  return Object.entries(fields)
    .map(([name, value]) => ` ${name}=${isPlain(value) ? value : escaped(value)}`)
    .join("");
}
