// Sends forwards to the app server. Each forward ends in exactly one result. It does not know what
// it forwards.
//
// It is an entrypoint of its own that the object calls, for two reasons: a timeout's timer would
// keep the object awake, and each pending connection counts against the limit of six per
// invocation. It is asked by a request instead of a call, since the runtime cancels only these.
import { WorkerEntrypoint } from "cloudflare:workers";
import { FORWARD_TIMEOUT_EXTRA_MS } from "../module/border.generated.js";
import type { ForwardResult } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import { hintOf, isFollowed, REDIRECTS_MAX, redirected, shown } from "../session/redirect.js";
import { USER_AGENT } from "../version.js";
import { joined } from "./bytes.js";
import { logLine } from "./log.js";
import type { Env } from "./settings.js";
import { readSettings } from "./settings.js";

/** The part of a forward's time after which the status of an incomplete answer is the result. */
const STATUS_TIME = 0.9;

/** The most recent failure logged in the lifetime of this isolate. */
let logged = "";

/** Logged once until the failure changes: a log line costs more than the message it is about. */
function logOnce(failure: string): void {
  if (failure !== "" && failure !== logged) logLine("warn", failure);
  logged = failure;
}

export interface Forward {
  readonly hub: string;
  /** The hub's limit: near its end, the status of an incomplete answer is the result. */
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
}

/** @param signal also closes the connection to the app server */
export async function forward(
  appServer: Fetcher,
  forward: Forward,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<ForwardResult> {
  const response = await appServer.fetch("http://app-server/", {
    method: "POST",
    headers: { forward: JSON.stringify(forward) },
    body: message,
    signal,
  });
  return { ...JSON.parse(response.headers.get("result")!), body: await response.bytes() };
}

export class AppServer extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const forward = JSON.parse(request.headers.get("forward")!) as Forward;
    const { body, ...result } = await this.#forward(forward, await request.bytes());
    return new Response(body, { headers: { result: JSON.stringify(result) } });
  }

  async #forward(
    { hub, timeoutMs, answerBytesMax }: Forward,
    message: Uint8Array,
  ): Promise<ForwardResult> {
    const { serverUrl, serverSecret } = readSettings(this.env, hub);
    if (serverUrl === undefined) {
      logOnce("a client sent a message, but no app server is configured: set SIDEKICK_SERVER_URL");
      return unanswered("no_app_server");
    }
    try {
      const until = Date.now() + timeoutMs * STATUS_TIME;
      const { response, notice } = await post(
        serverUrl,
        serverSecret,
        message,
        AbortSignal.timeout(timeoutMs + FORWARD_TIMEOUT_EXTRA_MS),
      );
      logOnce(notice);
      const { status } = response;
      // A 2xx status means the app server has accepted the message; the rest of the answer is
      // irrelevant. Any other status stands, too, even if the rest is malformed.
      const body = await readUpTo(
        response.body,
        response.ok ? 0 : answerBytesMax,
        until - Date.now(),
      );
      return { outcome: "answered", status, body };
    } catch (error) {
      logOnce(
        "forwards fail (logged once until one succeeds): " +
          `${error instanceof Error ? error.message : String(error)}`,
      );
      const isTimeout = error instanceof Error && error.name === "TimeoutError";
      // The runtime does not say whether it has sent anything.
      return unanswered(isTimeout ? "timed_out" : "broken_off");
    }
  }
}

/** Follows redirects. The notice is for the log, or empty. */
async function post(
  serverUrl: URL,
  serverSecret: string,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<{ response: Response; notice: string }> {
  let url = serverUrl;
  let notice = "";
  for (let redirects = 0; ; redirects++) {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        // Another origin must not learn the secret.
        ...(url.origin === serverUrl.origin && { Authorization: `Bearer ${serverSecret}` }),
      },
      body: message,
      redirect: "manual",
      signal,
    });
    const { status } = response;
    const location = response.headers.get("Location")?.split(", ", 1)[0]; // the first of several
    const to = isFollowed(status) ? redirected(url, location) : undefined;
    if (to === undefined || redirects === REDIRECTS_MAX) {
      const hint = hintOf(url, status, location, "SIDEKICK_SERVER_URL");
      return {
        response,
        notice: hint === undefined ? notice : `${status} of ${shown(url)}: ${hint}`,
      };
    }
    notice =
      "the app server redirects: set SIDEKICK_SERVER_URL to the final address; " +
      `${status} of ${shown(url)} to ${shown(to)}`;
    await response.body?.cancel();
    url = to;
  }
}

/** What has come within the time, up to the limit. */
async function readUpTo(
  stream: ReadableStream<Uint8Array> | null,
  bytesMax: number,
  timeMs: number,
): Promise<Uint8Array> {
  const reader = stream?.getReader();
  const chunks: Uint8Array[] = [];
  let timer: number | null = null;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(timeMs, 0), undefined);
  });
  try {
    for (let left = bytesMax; reader !== undefined && left > 0; ) {
      const read = await Promise.race([reader.read(), timeout]);
      if (read === undefined || read.done) break;
      chunks.push(read.value.subarray(0, left));
      left -= Math.min(left, read.value.byteLength);
    }
  } catch {
    // It broke off.
  }
  clearTimeout(timer);
  reader?.cancel().catch(() => {});
  return joined(chunks);
}
