// The user's options for the engine, and their checks.
import { X509Certificate } from "node:crypto";
import { ConfigError } from "../module/hub.js";
import { parseEngineUrl } from "./engine-url.js";
import type { RedisOptions } from "./redis.js";
import { loadDecoder } from "./redis-package.js";
import { readScripts } from "./scripts.js";

/** A Redis server that several Sidekicks share, which act as one. */
export interface EngineOptions {
  /** `redis://user:password@host:6379/0`, or `rediss://` with TLS. */
  readonly url: string;
  /** PEM of a private authority for `rediss://`. Default: the authorities that Node trusts. */
  readonly ca?: string;
  /** Start of all keys and channels. Default: `sidekick`. */
  readonly prefix?: string;
}

const PREFIX = "sidekick";
const PREFIX_CHARACTERS_MAX = 64;
/** Version of the keys and channels. Nodes with different layouts do not see each other. */
const LAYOUT = 1;

/** The options of the connection that do not depend on the limits of the hub. */
export type PreparedEngine = Omit<RedisOptions, "timeoutMs" | "leaseMs" | "messageBytesMax">;

/**
 * @param node the hub's name: 16 hex digits
 * @throws ConfigError
 */
export async function prepareEngine(options: EngineOptions, node: string): Promise<PreparedEngine> {
  const url = parseEngineUrl("engine.url", options.url);
  const { ca, prefix = PREFIX } = options;
  checkPrefix("engine.prefix", prefix);
  if (ca !== undefined) checkAuthorities("engine.ca", ca);
  return {
    url,
    ca,
    decoder: await loadDecoder(),
    prefix: `${prefix}:${LAYOUT}:${url.database}:`,
    node,
    scripts: readScripts(),
  };
}

/**
 * Only characters without a meaning in the patterns of Redis (ACL, KEYS).
 * @throws ConfigError
 */
export function checkPrefix(name: string, text: string): void {
  if (/^[A-Za-z0-9._:-]+$/.test(text) && text.length <= PREFIX_CHARACTERS_MAX) return;
  throw new ConfigError(
    `${name}: expected 1 to ${PREFIX_CHARACTERS_MAX} letters, digits or any of . _ : -, got ` +
      JSON.stringify(text),
  );
}

/** @throws ConfigError */
export function checkAuthorities(name: string, pem: string): void {
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw new ConfigError(`${name}: expected PEM certificates: ${(error as Error).message}`);
  }
}
