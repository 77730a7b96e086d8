// The hub's answers as values that can cross from the object to the Worker, and as HTTP.
import type { RespondAction } from "../module/border.generated.js";
import { text } from "../module/hub.js";

export interface HttpAnswer {
  readonly status: number;
  readonly delayMs: number;
  readonly contentType: string;
  /** One more header line, or nothing. */
  readonly header: string;
  readonly body: string;
}

/** A copy: the action's bytes are views. */
export function answerOf(action: RespondAction): HttpAnswer {
  return {
    status: action.status,
    delayMs: action.delay_ms,
    contentType: text(action.content_type),
    header: text(action.header),
    body: text(action.body),
  };
}

export function plainAnswer(status: number, body: string): HttpAnswer {
  return { status, delayMs: 0, contentType: "text/plain; charset=utf-8", header: "", body };
}

/** The hub broke over this request. */
export const BROKEN = plainAnswer(500, "Internal error");

/** What a request asks for could not be stored. */
export const NOT_STORED = plainAnswer(
  503,
  "Service Unavailable: this could not be stored; the log of the Sidekick says why",
);

/** A body that does not come to its end, for somebody who may still be listening. */
export const BROKEN_OFF = plainAnswer(
  400,
  "Bad Request: the body broke off, or is not as its headers say",
);

export function responseOf(answer: HttpAnswer): Response {
  const headers = new Headers({ "Content-Type": answer.contentType });
  const colon = answer.header.indexOf(":");
  if (colon > 0) headers.set(answer.header.slice(0, colon), answer.header.slice(colon + 1).trim());
  return new Response(answer.body, { status: answer.status, headers });
}

/** Whether a client wants a socket. Any other wish to upgrade is none of ours: such a request is answered as if it had not asked. */
export function isUpgrade(request: Request): boolean {
  const asks =
    request.method === "GET" && request.headers.get("Upgrade")?.toLowerCase() === "websocket";
  return asks && new URL(request.url).pathname === "/socket";
}

/** Whether the recording is asked for. */
export function isTrace(request: Request): boolean {
  return request.method === "GET" && new URL(request.url).pathname === "/trace";
}
