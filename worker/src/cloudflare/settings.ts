// Reads the deployment's settings: the variables and secrets of wrangler.jsonc. Owns their names
// and defaults. The module checks the limits.

import type { Limits } from "../module/border.generated.js";
import { ConfigError } from "../module/hub.js";
import { originsOf } from "../session/origins.js";
import { useLogFormat } from "./log.js";
import type { SidekickObject } from "./object.js";
import type { SidekickShard } from "./shard-object.js";

export interface Env {
  readonly SIDEKICK: DurableObjectNamespace<SidekickObject>;
  /** Only needed with SIDEKICK_SHARDS. */
  readonly SIDEKICK_SHARD?: DurableObjectNamespace<SidekickShard>;
  /** The Bearer token that the app server must present. */
  readonly SIDEKICK_SECRET?: string;
  /** Also accepted, during rotation of SIDEKICK_SECRET. */
  readonly SIDEKICK_SECRET_PREVIOUS?: string;
  /** A Bearer token for GET /metrics alone; the secrets above are accepted there, too. */
  readonly SIDEKICK_METRICS_SECRET?: string;
  /** The app server's URL for client messages. Without it, clients get an error. */
  readonly SIDEKICK_SERVER_URL?: string;
  /** The Bearer token that the Sidekick presents to the app server. */
  readonly SIDEKICK_SERVER_SECRET?: string;
  /** Limits by name (docs/protocol.md), as a JSON text or an object. */
  readonly SIDEKICK_LIMITS?: unknown;
  /** Origins whose pages may open a socket, separated by commas. Default: all. */
  readonly SIDEKICK_ALLOWED_ORIGINS?: string;
  /** Approximate size in bytes of the trace kept for GET /trace. Default 0: none. */
  readonly SIDEKICK_TRACE_BYTES?: string | number;
  /** `json`: each line of the log is one object. Default: text. For all hubs. */
  readonly SIDEKICK_LOG_FORMAT?: string;
  /**
   * Several hubs in one deployment, by hostname, as a JSON text or an object: `{
   * "chat.example.com": { "secret": ... }, ... }` with secret, secret_previous, metrics_secret,
   * server_url, server_secret, limits, allowed_origins, trace_bytes, gateways, shards and
   * locations. If set, the variables for these are ignored.
   */
  readonly SIDEKICK_HUBS?: unknown;
  /** Number of objects that hold sockets. Default: one object does everything. */
  readonly SIDEKICK_GATEWAYS?: string | number;
  /** Number of objects that order messages and keep tokens for the gateways. It cannot change. */
  readonly SIDEKICK_SHARDS?: string | number;
  /**
   * Where the gateways are: location hints of Cloudflare, separated by commas, which gateways take
   * in turn. Default: each is near its first client.
   */
  readonly SIDEKICK_LOCATIONS?: string;
}

export interface HubSettings {
  /** Limits, secrets and allowed origins, for the module to check. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly serverUrl: URL | undefined;
  readonly serverSecret: string;
  readonly traceBytesMax: number;
  /** Undefined: one object does everything. */
  readonly scale: Scale | undefined;
}

/** Several objects that act as one hub: docs/deploy-cloudflare.md, "Past one object". */
export interface Scale {
  /** These hold the sockets. */
  readonly gateways: number;
  /** These order messages and keep tokens. */
  readonly shards: number;
  /** Location hints, which gateways take in turn. Empty: none. */
  readonly locations: readonly DurableObjectLocationHint[];
  /** The name of the setting of `shards`. */
  readonly shardsSetting: string;
}

/**
 * These defaults differ from those of the other hosts. An isolate has 128 MB for JavaScript, for
 * the module's memory (measured: up to 1.5 times its stores when all are full), for a second such
 * memory while a hub is being replaced, and possibly for another object of the class.
 */
const LIMITS_HERE: Partial<Limits> = {
  // Each frame from a stranger may cost the owner a row, and delay others while it is written.
  frames_per_second: 100,
  frames_burst: 1000,
  topic_store_bytes_max: 12 << 20,
  token_store_bytes_max: 12 << 20,
  forward_store_bytes_max: 8 << 20,
  change_log_bytes_max: 1 << 20,
  history_bytes_max: 2 << 20,
};

const THE_ONLY_HUB = "sidekick";

/** The hub that serves this hostname, or undefined if there is none. */
export function hubNameOf(env: Env, hostname: string): string | undefined {
  if (!isSet(env.SIDEKICK_HUBS)) return THE_ONLY_HUB;
  // a fully qualified name with its trailing dot is the same name
  const name = hostname.replace(/\.$/, "");
  return hubsOf(env).has(name) ? name : undefined;
}

/** The most recent result of hubsOf: an isolate sees the same value with every request. */
let known: { readonly value: unknown; readonly hubs: Map<string, unknown> } | undefined;

/** Keyed by hostname as URLs have it: lower case, in ASCII. */
function hubsOf(env: Env): Map<string, unknown> {
  if (known?.value === env.SIDEKICK_HUBS) return known!.hubs;
  const hubs = new Map<string, unknown>();
  for (const [hostname, settings] of Object.entries(json("SIDEKICK_HUBS", env.SIDEKICK_HUBS))) {
    const url = `https://${hostname}/`;
    const name = URL.canParse(url) ? new URL(url).hostname : "";
    if (name === "" || /[^\w.\-\u0080-\uffff]/.test(hostname)) {
      throw new ConfigError(
        'SIDEKICK_HUBS: expected hostnames like "chat.example.com", without scheme, port or ' +
          `path; got ${JSON.stringify(hostname)}`,
      );
    }
    if (hubs.has(name))
      throw new ConfigError(
        `SIDEKICK_HUBS: ${JSON.stringify(name)} is listed twice; list each hostname once`,
      );
    hubs.set(name, settings);
  }
  known = { value: env.SIDEKICK_HUBS, hubs };
  return hubs;
}

/** @throws ConfigError */
export function readSettings(env: Env, hub: string): HubSettings {
  useLogFormat(env.SIDEKICK_LOG_FORMAT);
  if (!isSet(env.SIDEKICK_HUBS)) {
    return settingsOf("", {
      secret: env.SIDEKICK_SECRET,
      secret_previous: env.SIDEKICK_SECRET_PREVIOUS,
      metrics_secret: env.SIDEKICK_METRICS_SECRET,
      server_url: env.SIDEKICK_SERVER_URL,
      server_secret: env.SIDEKICK_SERVER_SECRET,
      limits: env.SIDEKICK_LIMITS,
      allowed_origins: env.SIDEKICK_ALLOWED_ORIGINS,
      trace_bytes: env.SIDEKICK_TRACE_BYTES,
      gateways: env.SIDEKICK_GATEWAYS,
      shards: env.SIDEKICK_SHARDS,
      locations: env.SIDEKICK_LOCATIONS,
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
  // The setting's name: as a variable for a single hub, or as its path in SIDEKICK_HUBS.
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
      `${named("secret")}: a secret is ` +
        `required${where === "" ? "; set it with: npx wrangler secret put SIDEKICK_SECRET" : ""}`,
    );
  }
  const traceBytes = Number(given["trace_bytes"] ?? 0);
  if (!Number.isSafeInteger(traceBytes) || traceBytes < 0) {
    throw new ConfigError(
      `${named("trace_bytes")}: expected a number of bytes, got ` +
        `${JSON.stringify(given["trace_bytes"])}`,
    );
  }
  const origins = textOf("allowed_origins");
  const metricsSecret = textOf("metrics_secret");
  const limits = isSet(given["limits"]) ? json(named("limits"), given["limits"]) : {};
  const scale = scaleOf(named, given, textOf("locations"));
  if (scale !== undefined) checkMessageBytes(named("limits"), limits);
  return {
    config: {
      ...LIMITS_HERE,
      ...limits,
      ...(origins !== undefined && { allowed_origins: originsOf(origins) }),
      ...(metricsSecret !== undefined && { metrics_secret: metricsSecret }),
      secrets,
    },
    serverUrl: serverUrl(named("server_url"), textOf("server_url")),
    serverSecret: headerText(named("server_secret"), textOf("server_secret") ?? ""),
    traceBytesMax: traceBytes,
    scale,
  };
}

/** The upper bound of the limit `engine_shards`, and of the gateways that a shard tells at once. */
export const OBJECTS_MAX = 256;

function scaleOf(
  named: (name: string) => string,
  given: Record<string, unknown>,
  locations: string | undefined,
): Scale | undefined {
  if (!isSet(given["gateways"]) && !isSet(given["shards"])) {
    if (locations === undefined) return undefined;
    throw new ConfigError(
      `${named("locations")}: requires ${named("gateways")} and ${named("shards")}`,
    );
  }
  const count = (name: string, other: string) => {
    if (!isSet(given[name]))
      throw new ConfigError(
        `${named(name)}: expected a number from 1 to ${OBJECTS_MAX}, since ` +
          `${named(other)} is set; set both or neither`,
      );
    const number = Number(given[name]);
    if (Number.isInteger(number) && number >= 1 && number <= OBJECTS_MAX) return number;
    throw new ConfigError(
      `${named(name)}: expected a number from 1 to ${OBJECTS_MAX}, got ` +
        JSON.stringify(given[name]),
    );
  };
  return {
    gateways: count("gateways", "shards"),
    shards: count("shards", "gateways"),
    locations: locationsOf(named("locations"), locations),
    shardsSetting: named("shards"),
  };
}

/** Half of what all queues of a shard may hold (outboxes.ts), which drop a longer message. */
const MESSAGE_BYTES_MAX = 8 << 20;

function checkMessageBytes(name: string, limits: Record<string, unknown>): void {
  const { engine_message_bytes_max: bytes } = limits;
  if (typeof bytes !== "number" || bytes <= MESSAGE_BYTES_MAX) return; // the module checks the rest
  throw new ConfigError(
    `${name}: expected an engine_message_bytes_max of at most ${MESSAGE_BYTES_MAX} bytes, ` +
      `which a shard can deliver, got ${bytes}`,
  );
}

/** Cloudflare's location hints, with the continent of each as it tells that of a request. */
export const CONTINENT_OF: Readonly<Record<DurableObjectLocationHint, string>> = {
  wnam: "NA",
  enam: "NA",
  sam: "SA",
  weur: "EU",
  eeur: "EU",
  apac: "AS",
  oc: "OC",
  afr: "AF",
  me: "AS",
};

function locationsOf(name: string, list: string | undefined): DurableObjectLocationHint[] {
  const hints = list === undefined ? [] : list.split(",").map((hint) => hint.trim());
  const wrong = hints.find((hint) => !Object.hasOwn(CONTINENT_OF, hint));
  if (wrong === undefined) return hints as DurableObjectLocationHint[];
  throw new ConfigError(
    `${name}: expected location hints of Cloudflare, separated by commas ` +
      `(${Object.keys(CONTINENT_OF).join(", ")}), got ${JSON.stringify(wrong)}`,
  );
}

/**
 * The settings of a hub with shards.
 * @throws ConfigError
 */
export function readScaled(env: Env, hub: string): HubSettings & { readonly scale: Scale } {
  const settings = readSettings(env, hub);
  const { scale } = settings;
  if (scale !== undefined) return { ...settings, scale };
  throw new ConfigError(
    `SIDEKICK_SHARDS: expected a number of shards for ${JSON.stringify(hub)}, found none`,
  );
}

function serverUrl(name: string, text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new ConfigError(
      `${name}: expected a URL like https://example.com/api/covenant, got something else`,
    );
  }
  if (url.username !== "" || url.password !== "")
    throw new ConfigError(
      `${name}: a user name or password in the URL is not sent; use the server secret instead`,
    );
  url.searchParams.set("type", "channel");
  return url;
}

function headerText(name: string, text: string): string {
  // Headers hold ASCII; the runtime and the app server might decode anything else differently.
  if (/^[\x21-\x7e]*$/.test(text)) return text;
  throw new ConfigError(
    `${name}: expected printable ASCII without spaces; check for a trailing newline`,
  );
}

function json(name: string, value: unknown): Record<string, unknown> {
  let parsed = value;
  try {
    if (typeof value === "string") parsed = JSON.parse(value);
  } catch {
    // reported below
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw new ConfigError(`${name}: expected a JSON object`);
  return parsed as Record<string, unknown>;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}
