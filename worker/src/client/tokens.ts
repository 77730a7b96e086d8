// A new token in place of one that the hub does not know: after a restart it knows none.
import { backoffMs, jitter } from "./backoff.js";
import type { Channel } from "./channels.js";
import type { Parts } from "./parts.js";
import { within } from "./queries.js";
import type { ChannelError } from "./types.js";

/** All clients of a restarted hub ask the app server: they spread over at most this. */
const SPREAD_MS_MAX = 5000;

/**
 * Asks the app server until it answers.
 * @returns the new token, or why there is none; undefined if none is wanted any more
 */
export async function renewed(
  { options, hub }: Parts,
  { token, channel, params, request, renewals }: Channel,
  error: ChannelError,
  isWanted: () => boolean,
): Promise<string | ChannelError | undefined> {
  const { onTokenLost, refetchMs } = options;
  let answer: string | ChannelError | undefined;
  const ask = async () => {
    if (onTokenLost) answer = (await onTokenLost({ token, channel, params })) ?? error;
    else if (!request) answer = error;
    else {
      const { result } = await options.server!.sendConnectionRequest(request);
      if (result.type === "OK") answer = result.token;
      // Only the app server's own refusal is final.
      else if (result.error.fault === "client") answer = result.error;
    }
  };
  let windowMs = channel === undefined ? 0 : Math.min(hub.spreadMs, SPREAD_MS_MAX);
  // The app server may register its tokens at another Sidekick: this hub rejects each new one.
  if (renewals > 0) windowMs = backoffMs(options, renewals);
  for (let attempt = renewals; answer === undefined; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, jitter(windowMs)));
    if (!isWanted()) break;
    await within(ask(), refetchMs);
    windowMs = backoffMs(options, attempt);
  }
  return answer;
}
