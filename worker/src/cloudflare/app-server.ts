// Carries forwards to the app server: each ends in exactly one answer, the server's status and the beginning of its body, or status 0.
// Knows nothing of what is forwarded. An entrypoint of its own, called by the object: the timer of a timeout would keep the object
// awake, and a connection that waits for its answer counts, at most six at a time, for the invocation that opened it.
import { WorkerEntrypoint } from "cloudflare:workers";
import { readSettings } from "./settings.js";
import type { Env } from "./settings.js";

export interface ForwardAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export const NO_ANSWER: ForwardAnswer = { status: 0, body: new Uint8Array(0) };

/** Said once in the life of an isolate: a log line costs more than the message it is about. */
let hasWarned = false;

export class AppServer extends WorkerEntrypoint<Env> {
  /** @param timeoutMs for all of it, from now to the end of the answer */
  async forward(hub: string, body: Uint8Array, timeoutMs: number, answerBytesMax: number): Promise<ForwardAnswer> {
    const { serverUrl, serverSecret } = readSettings(this.env, hub);
    if (serverUrl === undefined) {
      if (!hasWarned) console.warn("a client sent a message, but there is no app server to take it: set SIDEKICK_SERVER_URL");
      hasWarned = true;
      return NO_ANSWER;
    }
    try {
      const response = await fetch(serverUrl, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${serverSecret}` },
        body,
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { status: response.status, body: await readUpTo(response.body, answerBytesMax) };
    } catch (error) {
      console.warn(`forward failed: ${error instanceof Error ? error.message : String(error)}`);
      return NO_ANSWER;
    }
  }
}

async function readUpTo(stream: ReadableStream<Uint8Array> | null, bytesMax: number): Promise<Uint8Array> {
  const beginning = new Uint8Array(bytesMax);
  let bytes = 0;
  for await (const chunk of stream ?? []) {
    const fitting = chunk.subarray(0, bytesMax - bytes);
    beginning.set(fitting, bytes);
    bytes += fitting.byteLength;
    if (bytes === bytesMax) break; // which cancels the rest
  }
  return beginning.slice(0, bytes);
}
