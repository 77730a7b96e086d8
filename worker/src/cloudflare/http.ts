// Requests as the hub gets them, and its answers as HTTP responses.
import type { HttpRequestInput, RespondAction } from "../module/border.generated.js";
import { REQUEST_HEADERS } from "../module/border.generated.js";
import { text } from "../module/hub.js";
import { logError } from "./log.js";

/** The request without its body, as the Worker in front gets it. */
export function inputOf({ url, method, headers }: Request): HttpRequestInput {
  const { pathname, search } = new URL(url);
  const lines = REQUEST_HEADERS.map((name) => [name, headers.get(name)] as const);
  return {
    type: "http_request",
    request: 1,
    body_bytes: Math.min(Number(headers.get("Content-Length") ?? 0), 0xffffffff),
    method,
    path: pathname + search,
    authorization: headers.get("Authorization") ?? "",
    headers: headers.has("Upgrade")
      ? lines.map(([name, value]) => (value === null ? "" : `${name}: ${value}\n`)).join("")
      : "",
    body: "",
  };
}

/**
 * Whether the runtime can accept a WebSocket: it knows an upgrade by this exact value, and also
 * takes a POST with it for one when the Worker passes it on.
 */
export function isUpgrade({ headers }: Request): boolean {
  return headers.get("Upgrade")?.toLowerCase() === "websocket";
}

export function responseOf(action: RespondAction): Response {
  return answerOf(action)();
}

/**
 * Makes the response later: it belongs to the request in which it is made, which may be another one
 * than that of the action.
 */
export function answerOf({ status, content_type, header, body }: RespondAction): () => Response {
  const headers = new Headers({ "Content-Type": text(content_type) });
  const [name, value] = text(header).split(": ");
  if (name && value) headers.set(name, value);
  const whole = text(body);
  return () => new Response(whole, { status, headers });
}

export function plainResponse(status: number, body: string): Response {
  return new Response(body, {
    status,
    headers: { "Content-Type": "text/plain; charset=utf-8" },
  });
}

/** For a ConfigError. The log names the setting. */
export function misconfigured(error: unknown): Response {
  logError("a request failed", error);
  return plainResponse(500, "This Sidekick is not configured; its log names the missing setting");
}

/** The hub trapped while handling this request. */
export const broken = () => plainResponse(500, "Internal error");

/** The answer to an incomplete body, in case the client is still connected. */
export const brokenOff = () =>
  plainResponse(400, "Bad Request: the body was cut off or does not match its headers");

/** Whether the request asks for the recording. */
export function isTrace(request: Request): boolean {
  return request.method === "GET" && new URL(request.url).pathname === "/trace";
}
