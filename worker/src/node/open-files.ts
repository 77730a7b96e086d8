// Each socket is an open file, and the system bounds them. A server that runs out cannot accept anybody, so it says so at start.
import { readFileSync } from "node:fs";
import type { Log } from "./log.js";

/** Beside the clients: the module, logs, and connections from and to the app server. */
const OTHER_FILES = 64;

/** Node has raised the soft limit to the hard one by now, so what is found here is all there is. */
export function warnOfOpenFiles(log: Log, clientsMax: number, limitsText = readLimits()): void {
  const files = Number(/^Max open files\s+(\d+)/m.exec(limitsText)?.[1] ?? Infinity);
  if (files >= clientsMax + OTHER_FILES) return;
  log.warn(
    `fewer files may be open than there may be clients: raise it (ulimit -n ${clientsMax + OTHER_FILES}, or LimitNOFILE=), or lower clients_max`,
    {
      open_files: files,
      clients_max: clientsMax,
    },
  );
}

/** Only Linux tells it without a search. */
function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}
