// Sends forwards to the app server. Each forward ends in exactly one answer: the server's status
// and the start of its body, or status 0. It does not know what it forwards.
//
// It is an entrypoint of its own that the object calls, for two reasons: a timeout's timer would
// keep the object awake, and each pending connection counts against the limit of six per
// invocation.
import { WorkerEntrypoint } from "cloudflare:workers";
import { joined } from "./bytes.js";
import type { Env } from "./settings.js";
import { readSettings } from "./settings.js";

export interface ForwardAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export const NO_ANSWER: ForwardAnswer = { status: 0, body: new Uint8Array(0) };

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
  ): Promise<ForwardAnswer> {
    const { serverUrl, serverSecret } = readSettings(this.env, hub);
    if (serverUrl === undefined) {
      logOnce("a client sent a message, but no app server is configured: set SIDEKICK_SERVER_URL");
      return NO_ANSWER;
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
      if (!response.ok)
        return { status: response.status, body: await readUpTo(response.body, answerBytesMax) };
      // A 2xx status means the app server has accepted the message; the rest of the answer is
      // irrelevant.
      await response.body?.cancel();
      return { status: response.status, body: NO_ANSWER.body };
    } catch (error) {
      logOnce(
        "forwards fail (logged once until one succeeds): " +
          `${error instanceof Error ? error.message : String(error)}`,
      );
      return NO_ANSWER;
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
