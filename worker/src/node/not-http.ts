// Answers requests that no hub sees, since they are not valid HTTP/1.1, and logs them: the operator
// has no other hint.
import type { IncomingMessage } from "node:http";
import { maxHeaderSize } from "node:http";
import type { Log } from "./log.js";

/** Without the empty lines that a parser skips. As in worker/native/http/not_http.cpp. */
const PROTOCOLS = [
  {
    beginsWith: "\x16\x03",
    name: "TLS",
    advice: "use http:// and ws:// here, or put a TLS proxy in front",
  },
  {
    beginsWith: "PROXY ",
    name: "the PROXY protocol",
    advice: "turn it off in the load balancer; it is not supported",
  },
  {
    beginsWith: "\0\r\nQUIT\n",
    name: "the PROXY protocol",
    advice: "turn it off in the load balancer; it is not supported",
  },
  {
    beginsWith: "PRI * HTTP/2",
    name: "HTTP/2",
    advice: "let the proxy speak HTTP/1.1 to this port",
  },
];

/** Status and text. */
export type Refusal = readonly [status: number, why: string];

/** RFC 9112, section 3.2, and RFC 9110, section 10.1.1. Undefined: the head is valid. */
export function refusalOfHead(request: IncomingMessage): Refusal | undefined {
  const { headers, httpVersion, rawHeaders } = request;
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
  if (httpVersion !== "1.0" && hosts.length !== 1)
    return [400, "Bad Request: expected exactly one Host header"];
  const { expect } = headers;
  if (expect !== undefined && expect.toLowerCase() !== "100-continue")
    return [417, "Expectation Failed: expected no Expect header but 100-continue"];
  return undefined;
}

/** The answer to a request that `node:http` rejects. Undefined: the connection is broken. */
export function refusalOf(error: Error, log: Log, remote: string | undefined): Refusal | undefined {
  const { code = "", reason, rawPacket } = error as ClientError;
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return [408, "Request Timeout: expected the head within 10 s, the body within 60 s; try again"];
  if (!code.startsWith("HPE_")) return undefined;
  if (code === "HPE_HEADER_OVERFLOW")
    return [431, `Request Header Fields Too Large: expected at most ${maxHeaderSize / 1024} KiB`];
  const start = Buffer.from(rawPacket?.subarray(0, 32) ?? []).toString("latin1");
  const bytes = start.replace(/^[\r\n]+/, "");
  const protocol = PROTOCOLS.find(({ beginsWith }) => bytes.startsWith(beginsWith));
  if (protocol === undefined) {
    log.debug("rejected a request that is not HTTP/1.1", { error: error.message, remote });
    return [400, `Bad Request: expected HTTP/1.1: ${reason ?? error.message}`];
  }
  const { name, advice } = protocol;
  log.warn(`rejected a request that is ${name}, not HTTP/1.1`, { advice, remote });
  return [400, `Bad Request: expected HTTP/1.1, got ${name}: ${advice}`];
}

/** The members that the parser adds. */
interface ClientError extends NodeJS.ErrnoException {
  readonly reason?: string;
  readonly rawPacket?: Uint8Array;
}
