// The entries of differences.ts about input: the texts and names that we reject and the reference
// accepts.
import ION from "@covenant-rpc/ion";

import { intendedDifferences } from "../ion/differences.ts";
import { NUMBERS } from "./numbers.ts";

export interface Room {
  readonly channel: string;
  readonly params: Readonly<Record<string, string>>;
}

/** Any message of either wire, as far as it is a message. */
export interface Message extends Partial<Room> {
  readonly type?: string;
  readonly token?: string;
  readonly data?: unknown;
  readonly resources?: readonly string[];
}

/**
 * A function that caches its results for the latest texts: a message goes to many clients, and
 * shrinking repeats everything.
 */
function remembering<T>(ask: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    let answer = known.get(text);
    if (answer === undefined) {
      if (known.size === 10_000) known.clear();
      known.set(text, (answer = ask(text)));
    }
    return answer;
  };
}

/** The result of npm's reader; callers must not change it. */
export const ionOf = remembering((text): { value: unknown } | { error: unknown } => {
  try {
    return { value: ION.parse(text) };
  } catch (error) {
    return { error };
  }
});

/** For a text that the reference reads; tests/ion checks our readers against the same list. */
export const isIonToUs = remembering((text) => intendedDifferences(Buffer.from(text)).size === 0);

const known = ["type", "token", "channel", "params", "data", "context", "resources"];

/**
 * Returns whether a known member of the object in the text is duplicate, or a param in its params.
 */
export const hasTwice = remembering((text): { member: boolean; param: boolean } => {
  const members: string[] = [];
  const params: string[] = [];
  let depth = 0;
  let member = "";
  let before = "";
  const tokens = [...text.matchAll(/"(?:[^"\\]|\\[^])*"|date:[^ \t\r\n,}\]]*|[{}[\],:]/g)].map(
    ([token]) => token,
  );
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") ++depth;
    if (token === "}" || token === "]") --depth;
    if (token.startsWith('"') && tokens[at + 1] === ":" && (before === "{" || before === ",")) {
      const name = token.includes("\\") ? (ION.parse(token) as string) : token.slice(1, -1);
      if (depth === 1) members.push((member = name));
      else if (depth === 2 && member === "params") params.push(name);
    }
    before = token;
  });
  const repeats = (names: string[]): boolean => new Set(names).size < names.length;
  return {
    member: repeats(members.filter((name) => known.includes(name))),
    param: repeats(params),
  };
});

const isOver = (text: string, bytesMax: number): boolean => Buffer.byteLength(text) > bytesMax;

export function isTooLong({ token, channel, params, resources }: Message): boolean {
  return (
    (token !== undefined && isOver(token, NUMBERS.token_bytes_max)) ||
    (channel !== undefined && isOver(channel, NUMBERS.channel_bytes_max)) ||
    (params !== undefined && areTooLong(params)) ||
    resources?.some((resource) => isOver(resource, NUMBERS.resource_bytes_max)) === true
  );
}

function areTooLong(params: Room["params"]): boolean {
  return Object.entries(params).some(
    ([name, value]) =>
      isOver(name, NUMBERS.param_name_bytes_max) || isOver(value, NUMBERS.param_value_bytes_max),
  );
}

/** What an error can name of a malformed message. */
export function scopeOf(parsed: unknown, text: string): Room {
  const nothing = { channel: "unknown", params: {} };
  if (
    typeof parsed !== "object" ||
    parsed === null ||
    Object.getPrototypeOf(parsed) !== Object.prototype
  )
    return nothing;
  const { type, channel, params } = parsed as Record<string, unknown>;
  if (typeof type === "string" && ["subscribe", "unsubscribe", "listen", "unlisten"].includes(type))
    return nothing;
  const isChannel = typeof channel === "string" && !isOver(channel, NUMBERS.channel_bytes_max);
  const areParams =
    typeof params === "object" &&
    params !== null &&
    Object.getPrototypeOf(params) === Object.prototype &&
    Object.values(params).every((value) => typeof value === "string") &&
    !areTooLong(params as Room["params"]) &&
    !hasTwice(text).param;
  return {
    channel: isChannel ? channel : nothing.channel,
    params: areParams ? (params as Room["params"]) : nothing.params,
  };
}

const escaped = (text: string): string => text.replace(/[,:/\\]/g, "\\$&");

/** docs/protocol.md, "Topics". */
export function sidekickTopic({ channel, params }: Room): string {
  const pairs = Object.keys(params).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const shown = pairs.map((name) => `${escaped(name)}:${escaped(params[name]!)}`);
  return `channel:${escaped(channel)}/${shown.join(",")}`;
}
