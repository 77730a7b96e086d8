// HTTP requests that were passed to the hub and wait for its answer. Reads bodies and writes
// answers; the hub decides how much of a body is read and what is answered.
import type { IncomingMessage } from "node:http";
import { ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { HttpRequestInput, RespondAction } from "../module/border.generated.js";
import {
  ERROR_CODES,
  METRICS_CONTENT_TYPE,
  REQUEST_HEADERS,
  VerdictKind,
} from "../module/border.generated.js";
import type { Verdict } from "../module/hub.js";
import { text } from "../module/hub.js";
import { levelOf } from "../session/error-level.js";
import type { Session } from "../session/session.js";
import type { Log } from "./log.js";
import type { Refusal } from "./not-http.js";
import { refusalOfHead } from "./not-http.js";

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
const NOTHING = Buffer.alloc(0);
const TEXT_PLAIN = "text/plain; charset=utf-8";
const HEADERS: ReadonlySet<string> = new Set(REQUEST_HEADERS);

interface Exchange {
  readonly request: IncomingMessage;
  /** Undefined for an upgrade until it is answered as a plain request. */
  response: ServerResponse | undefined;
  timer: NodeJS.Timeout | undefined;
  /** The connection closes after this answer. */
  isLast: boolean;
  /** Writes the answer now. Set while the answer is delayed. */
  answer: (() => void) | undefined;
}

export class HttpExchanges {
  readonly #session: Session;
  readonly #log: Log;
  readonly #open = new Map<number, Exchange>();
  /** Connections whose last answer is in progress: requests pipelined after it are not answered. */
  readonly #finishing = new WeakSet<Socket>();
  /** Requests per connection in this turn of the event loop. */
  #turn: Map<Socket, number> | undefined;
  #next = 1;
  /**
   * Set at shutdown: answers are sent without delay, and each connection closes after its answer.
   */
  #ending = false;

  constructor(session: Session, log: Log) {
    this.#session = session;
    this.#log = log;
  }

  /**
   * Reads as much of the body as the hub wants, and passes the request on.
   * @param awaitsContinue the client sends its body only after 100 Continue
   */
  take(request: IncomingMessage, response: ServerResponse, awaitsContinue = false): void {
    if (!this.#takesMoreOf(request.socket, response)) return;
    const input = this.#add(request, response);
    const refusal = refusalOfHead(request);
    if (refusal !== undefined) return this.#refuse(input.request, refusal);
    const verdict = this.#session.admit(input);
    if (verdict === undefined) return;
    const { kind, bodyBytesMax } = verdict;
    if (kind === VerdictKind.metrics) return this.#answerMetrics(input);
    if (kind !== VerdictKind.body || input.body_bytes > bodyBytesMax) {
      this.#session.apply(input);
      return;
    }
    if (awaitsContinue) response.writeContinue();
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > bodyBytesMax) {
        request.off("data", onData).off("end", onEnd).pause();
        this.#session.apply({ ...input, body_bytes: bytes });
      } else {
        chunks.push(chunk);
      }
    };
    const onEnd = () => {
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes);
      this.#session.apply({ ...input, body_bytes: bytes, body });
    };
    request.on("data", onData).on("end", onEnd);
  }

  /**
   * Asks the hub about an upgrade. Returns its verdict if that is to accept the socket or to read a
   * body; any other has been passed on, and its answer is written as to a plain request.
   */
  takeUpgrade(request: IncomingMessage): Verdict | undefined {
    const input = this.#add(request, undefined);
    const refusal = refusalOfHead(request);
    if (refusal !== undefined) return void this.#refuse(input.request, refusal);
    const verdict = this.#session.admit(input);
    if (verdict?.kind === VerdictKind.socket || verdict?.kind === VerdictKind.body) {
      this.#open.delete(input.request);
      return verdict;
    }
    if (verdict?.kind === VerdictKind.metrics) this.#answerMetrics(input);
    else if (verdict !== undefined) this.#session.apply(input);
    return undefined;
  }

  /** Answers bytes that are no request, or the request that they break off, in its turn. */
  refuse(connection: Socket, refusal: Refusal): void {
    if (this.#finishing.has(connection)) return;
    this.#finishing.add(connection);
    for (const [id, { request }] of this.#open)
      if (request.socket === connection && !request.complete) return this.#refuse(id, refusal);
    const [status, why] = refusal;
    const head =
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${TEXT_PLAIN}\r\n` +
      `Content-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n`;
    afterAnswers(connection, () => end(connection, head + why));
  }

  #refuse(request: number, [status, why]: Refusal): void {
    this.#open.get(request)!.isLast = true;
    this.#answer(request, status, TEXT_PLAIN, why);
  }

  #answerMetrics(input: HttpRequestInput): void {
    const metrics = this.#session.metrics(input);
    if (metrics !== undefined) this.#answer(input.request, 200, METRICS_CONTENT_TYPE, metrics);
  }

  /** An answer that is not the hub's. */
  #answer(request: number, status: number, contentType: string, body: string): void {
    this.respond({
      type: "respond",
      request,
      status,
      delay_ms: 0,
      content_type: Buffer.from(contentType),
      header: NOTHING,
      body: Buffer.from(body),
      code: 0,
    });
  }

  respond(action: RespondAction): void {
    const { request: id, status, code, delay_ms } = action;
    const exchange = this.#open.get(id);
    if (exchange === undefined) return; // gone in the meantime
    const { request } = exchange;
    const { socket } = request;
    if (code !== 0) {
      const path = request.url?.replace(/[?#].*/s, "");
      const fields = { status, code: ERROR_CODES[code], path, remote: socket.remoteAddress };
      this.#log[levelOf(fields.code)]("rejected a request", fields);
    }
    const headers: Record<string, string | number> = {
      "Content-Type": text(action.content_type),
      "Content-Length": action.body.byteLength,
    };
    const [header, value] = text(action.header).split(": ");
    if (header && value) headers[header] = value;
    // A string, not bytes: Node then writes head and body together.
    const body = text(action.body);
    const response = (exchange.response ??= this.#watch(id, responseToUpgrade(request)));
    exchange.answer = () => {
      clearTimeout(exchange.timer);
      this.#open.delete(id);
      const isUnread = !request.complete && announcesBody(request);
      if (isUnread) lingerAtEnd(request);
      if (isUnread || exchange.isLast || this.#ending) {
        this.#finishing.add(socket);
        response.setHeader("Connection", "close");
      }
      response.writeHead(status, headers);
      response.end(request.method === "HEAD" ? undefined : body);
    };
    if (delay_ms === 0 || this.#ending) {
      exchange.answer();
      return;
    }
    // Someone who guesses secrets gets one guess per connection and delay.
    exchange.isLast = true;
    this.#finishing.add(socket);
    socket.pause();
    exchange.timer = setTimeout(exchange.answer, delay_ms);
  }

  /** From now on each answer is the last of its connection; delayed answers are sent now. */
  end(): void {
    this.#ending = true;
    for (const exchange of [...this.#open.values()]) exchange.answer?.();
  }

  #takesMoreOf(connection: Socket, response: ServerResponse): boolean {
    if (this.#finishing.has(connection) || connection.destroyed) return false;
    if (this.#turn === undefined) {
      this.#turn = new Map();
      setImmediate(() => (this.#turn = undefined));
    }
    const count = (this.#turn.get(connection) ?? 0) + 1;
    this.#turn.set(connection, count);
    if (count <= PIPELINED_MAX) return true;
    this.#finishing.add(connection);
    // Answers are written in order: the turn of this one comes behind those that are due.
    if (response.socket === null) response.once("socket", () => end(connection));
    else end(connection);
    return false;
  }

  /** Returns the request as an input without its body. */
  #add(request: IncomingMessage, response: ServerResponse | undefined): HttpRequestInput {
    while (this.#open.has(this.#next) || this.#next === 0) this.#next = (this.#next + 1) >>> 0;
    const id = this.#next;
    this.#next = (id + 1) >>> 0;
    this.#open.set(id, { request, response, timer: undefined, isLast: false, answer: undefined });
    request.on("error", ignore);
    if (response !== undefined) this.#watch(id, response);
    return {
      type: "http_request",
      request: id,
      body_bytes: Math.min(Number(request.headers["content-length"] ?? 0), 0xffffffff),
      method: request.method ?? "",
      path: received(request.url ?? ""),
      authorization: received(request.headers.authorization ?? ""),
      body: NOTHING,
      headers: received(upgradeHeadersOf(request)),
    };
  }

  #watch(id: number, response: ServerResponse): ServerResponse {
    response.on("error", ignore);
    // Emitted in any case: after the answer, or when the client has disconnected.
    response.on("close", () => {
      clearTimeout(this.#open.get(id)?.timer);
      this.#open.delete(id);
    });
    return response;
  }
}

/** Answers an upgrade as a plain request, the last of its connection. */
export function responseToUpgrade(request: IncomingMessage): ServerResponse {
  const { socket } = request;
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  response.setHeader("Connection", "close");
  response.on("finish", () => end(socket));
  return response;
}

/** Calls back when all earlier requests of a connection that is still open are answered. */
export function afterAnswers(connection: Duplex, then: () => void): void {
  const earlier = (connection as { _httpMessage?: ServerResponse | null })._httpMessage;
  if (earlier) earlier.once("close", () => afterAnswers(connection, then));
  else if (!connection.destroyed) then();
}

/** For a connection that Node has released: nothing else would close it if the peer does not. */
function end(connection: Socket, bytes = ""): void {
  connection.resume().end(bytes);
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}

/** Node decodes what it receives as Latin-1: returns the bytes, or the text if it is ASCII. */
function received(value: string): string | Buffer {
  return /[^\x00-\x7f]/.test(value) ? Buffer.from(value, "latin1") : value;
}

/** Empty if the request asks for no upgrade. HTTP/1.0 has none (RFC 9110, section 7.8). */
function upgradeHeadersOf({ headers, httpVersion, rawHeaders }: IncomingMessage): string {
  let lines = "";
  if (headers.upgrade === undefined || httpVersion === "1.0") return lines;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (HEADERS.has(rawHeaders[i]!.toLowerCase()))
      lines += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\n`;
  }
  return lines;
}

function announcesBody({ headers }: IncomingMessage): boolean {
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
