// Sends forwards to the app server. Each forward ends in exactly one result. It does not know what
// it forwards.
//
// It is an entrypoint of its own that the object calls, for two reasons: a timeout's timer would
// keep the object awake, and each pending connection counts against the limit of six per
// invocation.
import { WorkerEntrypoint } from "cloudflare:workers";
import type { ForwardResult } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import { joined } from "./bytes.js";
import type { Env } from "./settings.js";
import { readSettings } from "./settings.js";

/** The most recent failure logged in the lifetime of this isolate. */
let logged = "";

/** Logged once until the failure changes: a log line costs more than the message it is about. */
function logOnce(failure: string): void {
  if (failure !== "" && failure !== logged) console.warn(failure);
  logged = failure;
}

export class AppServer extends WorkerEntrypoint<Env> {
  /** @param timeoutMs covers the whole exchange, up to the end of the answer */
  async forward(
    hub: string,
    message: Uint8Array,
    timeoutMs: number,
    answerBytesMax: number,
  ): Promise<ForwardResult> {
    const { serverUrl, serverSecret } = readSettings(this.env, hub);
    if (serverUrl === undefined) {
      logOnce("a client sent a message, but no app server is configured: set SIDEKICK_SERVER_URL");
      return unanswered("no_app_server");
    }
    try {
      const response = await fetch(serverUrl, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${serverSecret}` },
        body: message,
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
      });
      logOnce("");
      const { status } = response;
      if (!response.ok) {
        const body = await readUpTo(response.body, answerBytesMax);
        return { outcome: "answered", status, body };
      }
      // A 2xx status means the app server has accepted the message; the rest of the answer is
      // irrelevant.
      await response.body?.cancel();
      return { outcome: "answered", status, body: new Uint8Array(0) };
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

async function readUpTo(
  stream: ReadableStream<Uint8Array> | null,
  bytesMax: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let left = bytesMax;
  for await (const chunk of stream ?? []) {
    chunks.push(chunk.subarray(0, left));
    left -= Math.min(left, chunk.byteLength);
    if (left === 0) break; // cancels the rest
  }
  return joined(chunks);
}
