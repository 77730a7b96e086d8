// The hub's answers, as values that can cross from the object to the Worker, and as HTTP responses.
import type { RespondAction } from "../module/border.generated.js";
import { text } from "../module/hub.js";

export interface HttpAnswer {
  readonly status: number;
  readonly delayMs: number;
  readonly contentType: string;
  /** One additional header line, or empty. */
  readonly header: string;
  readonly body: string;
}

/** Copies: the action's bytes are views into the module's memory. */
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

/** The hub trapped while handling this request. */
export const BROKEN = plainAnswer(500, "Internal error");

/** The request's effect could not be stored. */
export const NOT_STORED = plainAnswer(
  503,
  "Service Unavailable: storage failed; see the log of the Sidekick",
);

/** The answer to an incomplete body, in case the client is still connected. */
export const BROKEN_OFF = plainAnswer(
  400,
  "Bad Request: the body was cut off or does not match its headers",
);

export function responseOf(answer: HttpAnswer): Response {
  const headers = new Headers({ "Content-Type": answer.contentType });
  const colon = answer.header.indexOf(":");
  if (colon > 0) headers.set(answer.header.slice(0, colon), answer.header.slice(colon + 1).trim());
  return new Response(answer.body, { status: answer.status, headers });
}

/**
 * Whether a client requests a WebSocket. Any other upgrade is ignored, and the request is answered
 * as plain HTTP.
 */
export function isUpgrade(request: Request): boolean {
  const asks =
    request.method === "GET" && request.headers.get("Upgrade")?.toLowerCase() === "websocket";
  return asks && new URL(request.url).pathname === "/socket";
}

/** Whether the request asks for the recording. */
export function isTrace(request: Request): boolean {
  return request.method === "GET" && new URL(request.url).pathname === "/trace";
}
