// A new token in place of one that the hub does not know: after a restart it knows none.
import { backoffMs, jitter } from "./backoff.js";
import type { Channel, Channels } from "./channels.js";
import type { Parts } from "./parts.js";
import { within } from "./queries.js";
import type { ChannelError } from "./types.js";

/** All clients of a restarted hub ask the app server: they spread over at most this. */
const SPREAD_MS_MAX = 5000;

export async function renewToken(
  parts: Parts,
  channels: Channels,
  register: Channel,
  error: ChannelError,
): Promise<void> {
  if (register.isRenewing) return;
  register.isRenewing = true;
  // Whether the hub before had handed these on, nobody knows.
  parts.sends.onTokenLost(register.token);
  let answer: Answer;
  for (let attempt = 0; ; attempt++) {
    const spreadMs = register.hasJoined ? Math.min(parts.hub.spreadMs, SPREAD_MS_MAX) : 0;
    const windowMs = attempt === 0 ? 0 : backoffMs(parts.options, attempt - 1);
    await new Promise((resolve) => setTimeout(resolve, jitter(Math.max(spreadMs, windowMs))));
    if (!channels.isWanted(register) || parts.connection.state.name === "closed") answer = "later";
    else answer = await ask(parts, register, error);
    if (answer !== "again") break;
  }
  register.isRenewing = false;
  if (answer === "later" || !channels.isWanted(register)) return;
  if ("token" in answer) channels.onToken(register, answer.token);
  else channels.give(register, answer.error);
}

type Answer = "again" | "later" | { readonly token: string } | { readonly error: ChannelError };

async function ask(parts: Parts, register: Channel, error: ChannelError): Promise<Answer> {
  const { token, channel, params, request } = register;
  const { onTokenLost, refetchMs } = parts.options;
  let answer: Answer = "again";
  const asking = async () => {
    if (onTokenLost !== undefined) {
      const renewed = await onTokenLost({ token, channel, params });
      answer = renewed === null ? { error } : { token: renewed };
    } else if (request !== undefined && parts.queries !== undefined) {
      const { result } = await parts.queries.reconnect(request);
      if (result.type === "OK") answer = { token: result.token };
      // Only the app server's own refusal is final.
      else if (result.error.fault === "client") answer = { error: result.error };
    } else answer = { error };
  };
  await within(asking(), refetchMs);
  return answer;
}
