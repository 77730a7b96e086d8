// The check in front of an app server's `?type=channel` route. @covenant-rpc/server does not make
// it; without it, anyone who finds the URL can send channel messages with a forged context.

/**
 * Call it with every request before the Covenant server gets it:
 *
 *     const refusal = requireSidekickSecret(request, process.env.SIDEKICK_SERVER_SECRET);
 *     if (refusal !== null) return refusal;
 *     return server.handle(request);
 *
 * @param secret the Sidekick's --server-secret; several during rotation
 * @returns a 401 response for a channel request without the secret, otherwise null
 */
export function requireSidekickSecret(
  request: Request,
  secret: string | readonly string[],
): Response | null {
  if (new URL(request.url).searchParams.get("type") !== "channel") return null;
  const secrets = typeof secret === "string" ? [secret] : secret;
  if (secrets.length === 0 || secrets.some((entry) => typeof entry !== "string" || entry === "")) {
    throw new Error(
      "requireSidekickSecret: expected a non-empty secret; is SIDEKICK_SERVER_SECRET set?",
    );
  }
  if (!secrets.every((entry) => /^[\x21-\x7e]+$/.test(entry))) {
    throw new Error(
      "requireSidekickSecret: expected printable ASCII without spaces, as the Sidekick does",
    );
  }
  const presented = request.headers.get("Authorization") ?? "";
  let matches = false;
  for (const entry of secrets) matches = isEqual(presented, `Bearer ${entry}`) || matches;
  return matches
    ? null
    : new Response("Unauthorized", { status: 401, headers: { "WWW-Authenticate": "Bearer" } });
}

/** Takes the same time wherever the first difference is. */
function isEqual(presented: string, expected: string): boolean {
  let difference = presented.length ^ expected.length;
  for (let i = 0; i < expected.length; i++)
    difference |= presented.charCodeAt(i) ^ expected.charCodeAt(i);
  return difference === 0;
}
