// HTTP requests that have been handed to the hub and wait for its answer. Owns reading of bodies and writing of answers: how
// much of a body is read, and what is answered, the hub says.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { HttpRequestInput, RespondAction } from "../module/border.generated.js";
import { text } from "../module/hub.js";
import type { Log } from "./log.js";

/** After an answer that did not wait for the whole body, the rest is dropped for so long: closing at once would lose the answer. */
const LINGER_MS = 2000;
/** More than clients that pipeline have under way. One packet can hold thousands, which would all be answered before anybody else. */
const PIPELINED_MAX = 64;
const UNAUTHORIZED = 401;
const NOTHING = Buffer.alloc(0);

/** What the exchanges need of the host. */
export interface RequestTaker {
  bodyBytesMax(method: string, path: string, authorization: string): number;
  apply(input: HttpRequestInput): void;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  timer: NodeJS.Timeout | undefined;
  /** The connection ends with this answer. */
  isLast: boolean;
  /** Writes the answer now. Set while it is being held back. */
  answer: (() => void) | undefined;
}

export class HttpExchanges {
  readonly #open = new Map<number, Exchange>();
  readonly #log: Log;
  /** Connections whose last answer is under way: whatever was sent behind that request is not answered. */
  readonly #finishing = new WeakSet<Socket>();
  /** How many requests each connection has brought in this turn of the event loop. */
  #turn: Map<Socket, number> | undefined;
  #next = 1;
  /** Set at shutdown: answers go out without delay, and every connection ends with its answer. */
  #ending = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Reads as much of the request as the hub wants and hands it on.
   * @param awaitsContinue the client sends its body only when told to
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

  /** Hands a request on that has, or is treated as having, no body. */
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
    // Text, not bytes: Node then writes head and body as one.
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
      this.#log.warn("a request with no or a wrong secret was refused", {
        path,
        remote: socket.remoteAddress,
      });
    }
    exchange.answer = () => this.#answer(action.request, exchange, status, headers, body);
    if (action.delay_ms === 0 || this.#ending) {
      exchange.answer();
      return;
    }
    // Who guesses secrets has one guess per connection and delay.
    exchange.isLast = true;
    this.#finishing.add(socket);
    socket.pause();
    exchange.timer = setTimeout(exchange.answer, action.delay_ms);
  }

  /** The hub broke over this request. */
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

  /** From now on every answer is the last of its connection; those held back go out now. */
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
    // Comes in any case: after the answer, or when the client has left.
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

/** By `destroySoon` Node ends a connection behind its last answer. With bytes unread that would reset it, and the answer be lost. */
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
