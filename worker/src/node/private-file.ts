// Files with secrets, tokens or messages: only their owner may read them. A file that already
// exists may have any owner and mode.
import type { Stats } from "node:fs";
import { fchmodSync, fstatSync } from "node:fs";
import type { Log } from "./log.js";

/** Undefined on Windows, where neither owner nor mode says who has access. */
const user = process.geteuid?.();

/**
 * For an open file that this process writes. Sets its mode to 0600, or warns if it belongs to
 * another user. Ignores pipes and devices.
 * @param what for the log, such as "the recording"
 */
export function keepPrivate(file: number, what: string, path: string, log: Log): void {
  const status = fstatSync(file);
  if (user === undefined || !status.isFile()) return;
  const isOwn = status.uid === user;
  if ((isOwn || status.uid === 0) && (status.mode & 0o077) === 0) return;
  if (isOwn && hasSetMode(file))
    log.info(`other users had access to ${what}; its mode is now 0600`, { file: path });
  else
    log.warn(
      `other users have access to ${what}: give the file to the user of this server, with mode ` +
        "0600",
      { file: path },
    );
}

/**
 * For a file that this process only reads. Warns if every user may read it; a group may, since a
 * service often gets its secrets that way.
 */
export function warnIfPublic(status: Stats, what: string, path: string, log: Log): void {
  if (user === undefined || !status.isFile() || (status.mode & 0o004) === 0) return;
  log.warn(`every user of this machine can read ${what}: run chmod o= on it`, { file: path });
}

/** Some file systems, such as FAT, have no modes. */
function hasSetMode(file: number): boolean {
  try {
    fchmodSync(file, 0o600);
    return true;
  } catch {
    return false;
  }
}
