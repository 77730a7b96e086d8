// Logs the rejections and closes that an operator should know, with their code (docs/protocol.md).
// Peers can cause such lines at will, and each is billed. So a line of one kind appears at most
// once in ten seconds, with the number of times. No timer writes the last ones: it would keep the
// object awake.
import { ERROR_CODES } from "../module/border.generated.js";
import { levelOf } from "../session/error-level.js";

const QUIET_MS = 10_000;

/** By message and code, for the lifetime of this isolate. */
const logged = new Map<string, { until: number; times: number }>();

export function logTold(
  message: string,
  code: number,
  fields: Readonly<Record<string, string | number>>,
): void {
  const name = ERROR_CODES[code];
  if (levelOf(name) !== "warn") return;
  const key = `${message} code=${name}`;
  const line = logged.get(key) ?? { until: 0, times: 0 };
  logged.set(key, line);
  line.times++;
  const now = Date.now();
  if (now < line.until) return;
  console.warn(`${key}${fieldsText({ ...fields, ...(line.times > 1 && { times: line.times }) })}`);
  line.until = now + QUIET_MS;
  line.times = 0;
}

export function fieldsText(fields: Readonly<Record<string, string | number>>): string {
  return Object.entries(fields)
    .map(([name, value]) => ` ${name}=${value}`)
    .join("");
}
