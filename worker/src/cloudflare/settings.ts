// Reads what the deployment has been told: variables and secrets of wrangler.jsonc. Owns their names and defaults; what the limits
// mean is checked by the module.

import type { Limits } from "../module/border.generated.js";
import { ConfigError } from "../module/hub.js";
import type { SidekickObject } from "./object.js";

export interface Env {
  readonly SIDEKICK: DurableObjectNamespace<SidekickObject>;
  /** What the app server presents as its Bearer token. */
  readonly SIDEKICK_SECRET?: string;
  /** Accepted as well, while SIDEKICK_SECRET is being replaced. */
  readonly SIDEKICK_SECRET_PREVIOUS?: string;
  /** Where messages of clients go; without it they are answered with an error. */
  readonly SIDEKICK_SERVER_URL?: string;
  /** What the Sidekick presents to the app server. */
  readonly SIDEKICK_SERVER_SECRET?: string;
  /** Limits by name, as in docs/protocol.md: JSON, as text or as an object. */
  readonly SIDEKICK_LIMITS?: unknown;
  /** Origins whose pages may open a socket, separated by commas. Not set: all. */
  readonly SIDEKICK_ALLOWED_ORIGINS?: string;
  /** Keeps a trace of about so many bytes, for GET /trace. Not set, or 0: none. */
  readonly SIDEKICK_TRACE_BYTES?: string | number;
  /**
   * Several hubs in one deployment, by hostname: JSON, as text or as an object, `{ "chat.example.com": { "secret": ... }, ... }` with
   * secret, secret_previous, server_url, server_secret, limits, allowed_origins, trace_bytes. The variables above then do not count.
   */
  readonly SIDEKICK_HUBS?: unknown;
}

export interface HubSettings {
  readonly secrets: readonly string[];
  readonly serverUrl: URL | undefined;
  readonly serverSecret: string;
  readonly limits: Readonly<Record<string, unknown>>;
  readonly allowedOrigins: readonly string[] | undefined;
  readonly traceBytesMax: number;
}

/** Other defaults than elsewhere. An isolate has 128 MB: for JavaScript, for the module's memory (measured: up to 1.5 times its stores, all of them full), for another such
 *  memory while a hub is made anew, and perhaps for another object of the class. */
const LIMITS_HERE: Partial<Limits> = {
  // Each frame of a stranger may cost the owner a row, and the others the time to write it.
  frames_per_second: 100,
  frames_burst: 1000,
  topic_store_bytes_max: 12 << 20,
  token_store_bytes_max: 12 << 20,
  forward_store_bytes_max: 8 << 20,
};

const THE_ONLY_HUB = "sidekick";

/** The hub that serves this hostname, or undefined when there is none. */
export function hubNameOf(env: Env, hostname: string): string | undefined {
  if (!isSet(env.SIDEKICK_HUBS)) return THE_ONLY_HUB;
  const name = hostname.replace(/\.$/, ""); // a name from the root of all names is the same name
  return hubsOf(env).has(name) ? name : undefined;
}

/** The latest of hubsOf: an isolate sees one value, with every request. */
let known: { readonly value: unknown; readonly hubs: Map<string, unknown> } | undefined;

/** By hostname as a URL has it: in lower case, and in ASCII. */
function hubsOf(env: Env): Map<string, unknown> {
  if (known?.value === env.SIDEKICK_HUBS) return known!.hubs;
  const hubs = new Map<string, unknown>();
  for (const [hostname, settings] of Object.entries(json("SIDEKICK_HUBS", env.SIDEKICK_HUBS))) {
    const url = `https://${hostname}/`;
    const name = URL.canParse(url) ? new URL(url).hostname : "";
    if (name === "" || /[^\w.\-\u0080-\uffff]/.test(hostname)) {
      throw new ConfigError(
        `SIDEKICK_HUBS: expected hostnames like "chat.example.com", without protocol, port or path; got ${JSON.stringify(hostname)}`,
      );
    }
    if (hubs.has(name))
      throw new ConfigError(
        `SIDEKICK_HUBS: expected each hostname once, found ${JSON.stringify(name)} twice (as a URL has it)`,
      );
    hubs.set(name, settings);
  }
  known = { value: env.SIDEKICK_HUBS, hubs };
  return hubs;
}

/** @throws ConfigError */
export function readSettings(env: Env, hub: string): HubSettings {
  if (!isSet(env.SIDEKICK_HUBS)) {
    return settingsOf("", {
      secret: env.SIDEKICK_SECRET,
      secret_previous: env.SIDEKICK_SECRET_PREVIOUS,
      server_url: env.SIDEKICK_SERVER_URL,
      server_secret: env.SIDEKICK_SERVER_SECRET,
      limits: env.SIDEKICK_LIMITS,
      allowed_origins: env.SIDEKICK_ALLOWED_ORIGINS,
      trace_bytes: env.SIDEKICK_TRACE_BYTES,
    });
  }
  const hubs = hubsOf(env);
  if (!hubs.has(hub))
    throw new ConfigError(
      `SIDEKICK_HUBS: expected settings for ${JSON.stringify(hub)}, found none`,
    );
  return settingsOf(`SIDEKICK_HUBS, ${hub}: `, json(`SIDEKICK_HUBS, ${hub}`, hubs.get(hub)));
}

function settingsOf(where: string, given: Record<string, unknown>): HubSettings {
  // As a user of the one hub knows it, or as it stands in SIDEKICK_HUBS.
  const named = (name: string) =>
    where === "" ? `SIDEKICK_${name.toUpperCase()}` : `${where}${name}`;
  const textOf = (name: string): string | undefined => {
    const value = given[name];
    if (!isSet(value)) return undefined;
    if (typeof value !== "string")
      throw new ConfigError(`${named(name)}: expected a text, got a ${typeof value}`);
    return value;
  };
  const secrets = [textOf("secret"), textOf("secret_previous")].filter(
    (secret) => secret !== undefined,
  );
  if (textOf("secret") === undefined) {
    throw new ConfigError(
      `${named("secret")}: a secret is required${where === "" ? "; npx wrangler secret put SIDEKICK_SECRET" : ""}`,
    );
  }
  const traceBytes = Number(given["trace_bytes"] ?? 0);
  if (!Number.isSafeInteger(traceBytes) || traceBytes < 0) {
    throw new ConfigError(
      `${named("trace_bytes")}: expected a number of bytes, got ${JSON.stringify(given["trace_bytes"])}`,
    );
  }
  return {
    secrets,
    serverUrl: serverUrl(named("server_url"), textOf("server_url")),
    serverSecret: headerText(named("server_secret"), textOf("server_secret") ?? ""),
    limits: {
      ...LIMITS_HERE,
      ...(isSet(given["limits"]) ? json(named("limits"), given["limits"]) : {}),
    },
    allowedOrigins: textOf("allowed_origins")
      ?.split(",")
      .map((origin) => origin.trim())
      .filter((origin) => origin !== "")
      .map((origin) => {
        if (URL.canParse(origin) && new URL(origin).origin === origin) return origin;
        throw new ConfigError(
          `${named("allowed_origins")}: expected origins like https://app.example.com, without a slash at the end; got ${JSON.stringify(origin)}`,
        );
      }),
    traceBytesMax: traceBytes,
  };
}

function serverUrl(name: string, text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new ConfigError(
      `${name}: expected something like https://example.com/api/covenant, got something that is no such URL`,
    );
  }
  if (url.username !== "" || url.password !== "")
    throw new ConfigError(
      `${name}: a user or password in it would not be sent; use the server secret`,
    );
  url.searchParams.set("type", "channel");
  return url;
}

function headerText(name: string, text: string): string {
  // What a header may hold is ASCII; beyond it the runtime and the app server might read it differently.
  if (/^[\x21-\x7e]*$/.test(text)) return text;
  throw new ConfigError(
    `${name}: expected printable ASCII without spaces; it has something else (a newline at its end?)`,
  );
}

function json(name: string, value: unknown): Record<string, unknown> {
  let parsed = value;
  try {
    if (typeof value === "string") parsed = JSON.parse(value);
  } catch {
    // said below
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw new ConfigError(`${name}: expected a JSON object`);
  return parsed as Record<string, unknown>;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}
