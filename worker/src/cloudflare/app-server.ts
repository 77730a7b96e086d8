// Carries forwards to the app server: each ends in exactly one answer, the server's status and the beginning of its body, or status 0.
// Knows nothing of what is forwarded. An entrypoint of its own, called by the object: the timer of a timeout would keep the object
// awake, and a connection that waits for its answer counts, at most six at a time, for the invocation that opened it.
import { WorkerEntrypoint } from "cloudflare:workers";
import { joined } from "./bytes.js";
import type { Env } from "./settings.js";
import { readSettings } from "./settings.js";

export interface ForwardAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export const NO_ANSWER: ForwardAnswer = { status: 0, body: new Uint8Array(0) };

/** The latest failure that was logged, in the life of this isolate. */
let logged = "";

/** Once until something else happens: a log line costs more than the message it is about. */
function logOnce(failure: string): void {
  if (failure !== "" && failure !== logged) console.warn(failure);
  logged = failure;
}

export class AppServer extends WorkerEntrypoint<Env> {
  /** @param timeoutMs for all of it, from now to the end of the answer */
  async forward(
    hub: string,
    message: Uint8Array,
    timeoutMs: number,
    answerBytesMax: number,
  ): Promise<ForwardAnswer> {
    const { serverUrl, serverSecret } = readSettings(this.env, hub);
    if (serverUrl === undefined) {
      logOnce(
        "a client sent a message, but there is no app server to take it: set SIDEKICK_SERVER_URL",
      );
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
      // Whoever says 2xx has taken the message: the rest of the answer concerns nobody.
      await response.body?.cancel();
      return { status: response.status, body: NO_ANSWER.body };
    } catch (error) {
      logOnce(
        `forwards fail (said once until one succeeds): ${error instanceof Error ? error.message : String(error)}`,
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
    if (left === 0) break; // which cancels the rest
  }
  return joined(chunks);
}
