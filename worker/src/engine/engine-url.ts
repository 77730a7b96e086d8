// The URL of the engine. A text that cannot be parsed is never shown: it may contain a password.
import { ConfigError } from "../module/hub.js";

export interface EngineUrl {
  readonly isTls: boolean;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly database: number;
  /** Empty: the default one. */
  readonly user: string;
  /** Empty: none. */
  readonly password: string;
  /** Without user and password, for logs. */
  readonly shown: string;
}

/** A name, or an address of IPv4 or IPv6. */
const HOST = /^([A-Za-z0-9._-]+|\[[0-9a-f:.]+\])$/;

/**
 * User and password may have characters that a URL should escape, except for `/`, `?`, `#` and `%`.
 * @param name what the text comes from, for the error
 * @throws ConfigError
 */
export function parseEngineUrl(name: string, text: string): EngineUrl {
  const url = /^rediss?:\/\/[!-~]*$/i.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  const database = /^\/?(\d{0,9})$/.exec(url?.pathname ?? "-")?.[1];
  const [user, password] = [decoded(url?.username), decoded(url?.password)];
  const isWhole =
    url !== undefined && HOST.test(url.hostname) && url.port !== "0" && !/[?#]/.test(text);
  if (!isWhole || database === undefined || user === undefined || password === undefined)
    throw new ConfigError(
      `${name}: expected a URL such as redis://localhost:6379/0 or rediss://redis.example.com ` +
        "(escape special characters of a password as in %40)",
    );
  if (user !== "" && password === "")
    throw new ConfigError(`${name}: the URL has a user but no password`);
  const port = Number(url.port || 6379);
  return {
    isTls: url.protocol === "rediss:",
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port,
    database: Number(database),
    user,
    password,
    shown: `${url.protocol}//${url.hostname}:${port}/${Number(database)}`,
  };
}

/** Undefined: not valid. */
function decoded(text: string | undefined): string | undefined {
  try {
    return decodeURIComponent(text ?? "");
  } catch {
    return undefined;
  }
}
