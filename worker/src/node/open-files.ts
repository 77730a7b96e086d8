// Each socket is an open file, and the system limits them. A server that runs out cannot accept
// connections, so the limit is checked at start.
import { readFileSync } from "node:fs";
import type { Log } from "./log.js";

/** For the module, logs, and connections from and to the app server. */
const OTHER_FILES = 64;

/** Node has already raised the soft limit to the hard limit, so this is the final value. */
export function warnOfOpenFiles(log: Log, clientsMax: number, limitsText = readLimits()): void {
  const files = Number(/^Max open files\s+(\d+)/m.exec(limitsText)?.[1] ?? Infinity);
  if (files >= clientsMax + OTHER_FILES) return;
  log.warn(
    "the open file limit is too low for clients_max: raise it (ulimit -n " +
      `${clientsMax + OTHER_FILES}, or LimitNOFILE=), or lower clients_max`,
    {
      open_files: files,
      clients_max: clientsMax,
    },
  );
}

/** Only Linux reports it without a search. */
function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
