import type { Settings, SidekickOptions } from "./types.js";

/** A timer that is set for longer runs at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const DEFAULTS: Settings = {
  pingMs: 25_000,
  pongMs: 10_000,
  probeMs: 4_000,
  openMs: 10_000,
  stableMs: 10_000,
  baseMs: 1_000,
  capMs: 30_000,
  queryMs: 15_000,
  refetchMs: 30_000,
  hiddenMs: 60_000,
  sendMax: 100,
  sendBytesMax: 262_144,
  sendTtlMs: 30_000,
};

/** An option that is undefined has its default, too. */
export function settingsOf(options: SidekickOptions): Settings & SidekickOptions {
  const settings = { ...options } as Settings & SidekickOptions;
  for (const name of Object.keys(DEFAULTS) as (keyof Settings)[])
    settings[name] = Math.min(options[name] ?? DEFAULTS[name], TIMER_MS_MAX);
  return settings;
}

/** Keeps the path: "https://host/x" becomes "wss://host/x/socket". */
export function socketUrl(url: string): string {
  // A regular expression, since React Native's `URL` is incomplete.
  const match = /^(?:http|ws)(s?):\/\/([^/?#][^?#]*)/i.exec(url);
  if (match === null) throw new Error(`Sidekick: expected https://..., got ${url}`);
  const [, secure, address] = match;
  return `ws${secure}://${address!.replace(/(\/socket)?\/*$/, "")}/socket`;
}
