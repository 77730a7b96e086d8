// Connections that do not speak HTTP/1.1. Without a line in the log, an operator has no hint: the
// peer sees 400.
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

/**
 * For each error of a connection. It only looks on: `node:http` answers with 400 and closes the
 * connection.
 */
export function reportNotHttp(log: Log, error: Error, remote: string | undefined): void {
  const { rawPacket } = error as { rawPacket?: Uint8Array }; // if the parser has failed
  if (rawPacket === undefined) return;
  const start = Buffer.from(rawPacket.subarray(0, 32)).toString("latin1");
  const bytes = start.replace(/^[\r\n]+/, "");
  const protocol = PROTOCOLS.find(({ beginsWith }) => bytes.startsWith(beginsWith));
  if (protocol === undefined) {
    log.debug("rejected a request that is not HTTP/1.1", { error: error.message, remote });
    return;
  }
  const { name, advice } = protocol;
  log.warn(`rejected a request that is ${name}, not HTTP/1.1`, { advice, remote });
}
