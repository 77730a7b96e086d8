// Why a Redis server cannot be used, in words that an operator can act on. Texts of Redis may name
// the user, which no log shows.
import type { EngineUrl } from "./engine-url.js";

export interface Reason {
  /** The same for the same cause. */
  readonly code: string;
  readonly text: string;
}

const VERSION_MIN = 7;

const PASSWORD_MISSING =
  "the server requires a password; add it to the engine's URL (SIDEKICK_ENGINE)";

const PASSWORD_UNEXPECTED =
  "the server has no password; remove it from the engine's URL (SIDEKICK_ENGINE)";

/** Does not say which command, key or channel. */
const FORBIDDEN_IN_SCRIPT = "The user executing the script can't ";

/**
 * Whether the error makes the connections useless: the server accepts no writes, or none of this
 * node. Any other error concerns one call only.
 */
export function isConnectionUseless(error: string): boolean {
  return /^(READONLY|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|NOSCRIPT|NOPERM)\b/.test(error);
}

/**
 * Why a server cannot be an engine.
 * @param info the reply to INFO
 * @returns undefined: it can
 */
export function wrongWithServer(info: string): Reason | undefined {
  const field = (name: string) => infoValue(info, name);
  const version = field("redis_version");
  if (!(parseInt(version, 10) >= VERSION_MIN))
    return { code: "version", text: `expected Redis ${VERSION_MIN} or Valkey, got ${version}` };
  if (field("redis_mode") === "cluster")
    return { code: "cluster", text: "expected a single primary, got a node of Redis Cluster" };
  if (field("redis_mode") === "sentinel")
    return {
      code: "sentinel",
      text: "expected a primary, got a Sentinel; use the primary's address",
    };
  if (field("role") === "slave")
    return {
      code: "replica",
      text:
        "expected a primary, got a replica of " +
        `${field("master_host")}:${field("master_port")}; use the address of the primary`,
    };
  const policy = field("maxmemory_policy");
  if (field("maxmemory") !== "0" && policy !== "" && policy !== "noeviction")
    return {
      code: "eviction",
      text: `expected maxmemory-policy noeviction, got ${policy}: it would drop tokens`,
    };
  return undefined;
}

/** Of two connections, if one server has calls and another one has messages. */
export const SEVERAL_SERVERS: Reason = {
  code: "servers",
  text: "the address leads to several servers; use one that leads to the primary only",
};

/** The name of the server's process, in the reply to INFO. */
export function serverOf(info: string): string {
  return infoValue(info, "run_id");
}

function infoValue(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "";
}

/** An error reply without the command's words, which the server repeats: AUTH has a password. */
export function withoutWords(error: string): string {
  return error.replace(/, with args beginning with.*/s, "");
}

/** The reason for the log, if an error reply has ended the connections. */
export function reasonOf(error: string, url: EngineUrl): Reason {
  if (/^ERR (AUTH |Client sent AUTH)/.test(error))
    return { code: "password", text: PASSWORD_UNEXPECTED };
  if (/^(WRONGPASS|NOAUTH)\b/.test(error))
    return {
      code: "password",
      text: url.password === "" ? PASSWORD_MISSING : "wrong user or password",
    };
  const forbidden = /^NOPERM .*permissions to (.*)/.exec(error)?.[1];
  if (forbidden !== undefined)
    return { code: "acl", text: `NOPERM: the ACL of the user forbids it to ${forbidden}` };
  if (error.includes(FORBIDDEN_IN_SCRIPT))
    return { code: "acl", text: `the ACL of the user forbids what a script does: ${error}` };
  return { code: "error", text: error };
}

/** The same for a failure of the connection itself. */
export function connectionReason(why: string): Reason {
  if (why.startsWith("TLS: certificate"))
    return { code: "tls", text: `${why} (--engine-ca FILE names a private CA)` };
  return { code: "connection", text: why };
}

/** The name of a node's connections, by which other nodes find them in CLIENT LIST. */
export function connectionName(prefix: string, node: string): string {
  return `sidekick-node:${prefix}${node}`;
}

/**
 * The prefixes of other Sidekicks on this server, with which this one shares nothing.
 * @param clients the reply to CLIENT LIST
 */
export function otherSidekicks(clients: string, prefix: string): ReadonlySet<string> {
  const names = clients.matchAll(/ name=sidekick-node:(\S+:)[0-9a-f]{16} /g);
  const all = new Set([...names].map(([, keys = ""]) => keys));
  all.delete(prefix);
  return all;
}
