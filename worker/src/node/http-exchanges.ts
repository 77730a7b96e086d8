// HTTP requests that were passed to the hub and wait for its answer. Reads bodies and writes
// answers; the hub decides how much of a body is read and what is answered.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { HttpRequestInput, RespondAction } from "../module/border.generated.js";
import { text } from "../module/hub.js";
import type { Log } from "./log.js";

/**
 * After an answer that did not wait for the whole body, the rest is discarded for this long:
 * closing at once would lose the answer.
 */
const LINGER_MS = 2000;
/**
 * More than any real pipelining client has in flight. One packet can hold thousands of requests,
 * which would all be answered before anyone else's.
 */
const PIPELINED_MAX = 64;
const UNAUTHORIZED = 401;
const NOTHING = Buffer.alloc(0);

/** The host's interface for the exchanges. */
export interface RequestTaker {
  bodyBytesMax(method: string, path: string, authorization: string): number;
  apply(input: HttpRequestInput): void;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  timer: NodeJS.Timeout | undefined;
  /** The connection closes after this answer. */
  isLast: boolean;
  /** Writes the answer now. Set while the answer is delayed. */
  answer: (() => void) | undefined;
}

export class HttpExchanges {
  readonly #open = new Map<number, Exchange>();
  readonly #log: Log;
  /** Connections whose last answer is in progress: requests pipelined after it are not answered. */
  readonly #finishing = new WeakSet<Socket>();
  /** Requests per connection in this turn of the event loop. */
  #turn: Map<Socket, number> | undefined;
  #next = 1;
  /**
   * Set at shutdown: answers are sent without delay, and each connection closes after its answer.
   */
  #ending = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Reads as much of the body as the hub wants, and passes the request on.
   * @param awaitsContinue the client sends its body only after 100 Continue
   */
  take(
    taker: RequestTaker,
    request: IncomingMessage,
    response: ServerResponse,
    awaitsContinue = false,
  ): void {
    if (!this.#takesMoreOf(request.socket)) return;
    const id = this.#add(request, response);
    const method = request.method ?? "";
    const path = request.url ?? "";
    const authorization = request.headers.authorization ?? "";
    const submit = (bodyBytes: number, body: Buffer) =>
      taker.apply({
        type: "http_request",
        request: id,
        body_bytes: Math.min(bodyBytes, 0xffffffff),
        method,
        path,
        authorization,
        body,
      });

    const declared = Number(request.headers["content-length"] ?? 0);
    const bytesMax = taker.bodyBytesMax(method, path, authorization);
    if (bytesMax === 0 || declared > bytesMax) {
      submit(declared, NOTHING);
      return;
    }
    if (awaitsContinue) response.writeContinue();
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) {
        request.off("data", onData).off("end", onEnd).pause();
        submit(bytes, NOTHING);
      } else {
        chunks.push(chunk);
      }
    };
    const onEnd = () =>
      submit(bytes, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes));
    request.on("data", onData).on("end", onEnd);
  }

  /** Passes on a request that has no body, or is treated as having none. */
  takeWithoutBody(taker: RequestTaker, request: IncomingMessage, response: ServerResponse): void {
    const id = this.#add(request, response);
    const { method = "", url: path = "" } = request;
    const authorization = request.headers.authorization ?? "";
    taker.apply({
      type: "http_request",
      request: id,
      body_bytes: 0,
      method,
      path,
      authorization,
      body: NOTHING,
    });
  }

  respond(action: RespondAction): void {
    const exchange = this.#open.get(action.request);
    if (exchange === undefined) return; // gone in the meantime
    // A string, not bytes: Node then writes head and body together.
    const headers: Record<string, string | number> = {
      "Content-Type": text(action.content_type),
      "Content-Length": action.body.byteLength,
    };
    const [name, value] = text(action.header).split(": ");
    if (name && value) headers[name] = value;
    const { status } = action;
    const body = text(action.body);
    const { socket } = exchange.request;
    if (status === UNAUTHORIZED) {
      const path = exchange.request.url?.replace(/[?#].*/s, "");
      this.#log.warn("rejected a request with a missing or wrong secret", {
        path,
        remote: socket.remoteAddress,
      });
    }
    exchange.answer = () => this.#answer(action.request, exchange, status, headers, body);
    if (action.delay_ms === 0 || this.#ending) {
      exchange.answer();
      return;
    }
    // Someone who guesses secrets gets one guess per connection and delay.
    exchange.isLast = true;
    this.#finishing.add(socket);
    socket.pause();
    exchange.timer = setTimeout(exchange.answer, action.delay_ms);
  }

  /** The hub trapped while handling this request. */
  fail(request: number): void {
    const exchange = this.#open.get(request);
    if (exchange === undefined) return;
    this.#answer(
      request,
      exchange,
      500,
      { "Content-Type": "text/plain; charset=utf-8", "Content-Length": 14 },
      "Internal error",
    );
  }

  /** From now on each answer is the last of its connection; delayed answers are sent now. */
  end(): void {
    this.#ending = true;
    for (const exchange of [...this.#open.values()]) exchange.answer?.();
  }

  #takesMoreOf(connection: Socket): boolean {
    if (this.#finishing.has(connection) || connection.destroyed) return false;
    if (this.#turn === undefined) {
      this.#turn = new Map();
      setImmediate(() => (this.#turn = undefined));
    }
    const count = (this.#turn.get(connection) ?? 0) + 1;
    this.#turn.set(connection, count);
    if (count > PIPELINED_MAX) connection.destroy();
    return count <= PIPELINED_MAX;
  }

  #add(request: IncomingMessage, response: ServerResponse): number {
    while (this.#open.has(this.#next) || this.#next === 0) this.#next = (this.#next + 1) >>> 0;
    const id = this.#next;
    this.#next = (id + 1) >>> 0;
    this.#open.set(id, { request, response, timer: undefined, isLast: false, answer: undefined });
    request.on("error", ignore);
    response.on("error", ignore);
    // Emitted in any case: after the answer, or when the client has disconnected.
    response.on("close", () => {
      clearTimeout(this.#open.get(id)?.timer);
      this.#open.delete(id);
    });
    return id;
  }

  #answer(
    id: number,
    exchange: Exchange,
    status: number,
    headers: Record<string, string | number>,
    body: string,
  ): void {
    const { request, response } = exchange;
    clearTimeout(exchange.timer);
    this.#open.delete(id);
    const isUnread = !request.complete && announcesBody(request);
    if (isUnread) lingerAtEnd(request);
    if (isUnread || exchange.isLast || this.#ending) {
      this.#finishing.add(request.socket);
      response.setHeader("Connection", "close");
    }
    response.writeHead(status, headers);
    response.end(request.method === "HEAD" ? undefined : body);
  }
}

export function announcesBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/**
 * Node closes a connection after its last answer through `destroySoon`. With unread bytes that
 * would reset the connection and lose the answer.
 */
function lingerAtEnd(request: IncomingMessage): void {
  const { socket } = request;
  socket.destroySoon = () => {
    const destroy = () => socket.destroy();
    socket.end();
    socket.resume();
    request.once("end", destroy).resume();
    setTimeout(destroy, LINGER_MS).unref();
  };
}

function ignore(): void {}
