// Sends forwards to the app server, each at most once: a repeated forward might take effect twice.
// Each forward ends in exactly one result, unless it is cancelled. Owns the connections to the app
// server; does not know what it forwards.
//
// Uses `http.request` with an agent rather than `fetch`: a fifth of the CPU per POST.
import * as http from "node:http";
import * as https from "node:https";
import { ConfigError } from "../module/hub.js";
import type { ForwardResult, Outcome } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import type { Log } from "./log.js";

export interface ForwarderOptions {
  readonly url: string;
  readonly secret: string;
  readonly answerBytesMax: number;
  readonly log: Log;
  /** For tests. */
  readonly idleMs?: number;
}

export type Done = (result: ForwardResult) => void;

const SOCKETS_MAX = 4096;
const IDLE_SOCKETS_MAX = 256;
/**
 * Idle connections are dropped after this time, before the server drops them (Node: after 5 s), so
 * that no forward meets a connection that is being closed.
 */
const IDLE_MS = 4000;
/** Time allowed for the rest of an answer whose status suffices. */
const REST_TIMEOUT_MS = 100;
const SHUTTING_DOWN = "the Sidekick is shutting down";
const NOTHING = Buffer.alloc(0);

export class Forwarder {
  readonly #agent: http.Agent;
  readonly #request: (options: http.RequestOptions) => http.ClientRequest;
  readonly #options: http.RequestOptions;
  readonly #headers: http.OutgoingHttpHeaders;
  readonly #answerBytesMax: number;
  readonly #log: Log;
  /** The server URL in a form that may be logged: a query may hold secrets. */
  readonly #name: string;
  readonly #open = new Set<Forward>();
  #ended = false;

  /** @throws ConfigError if the URL or the secret is invalid */
  constructor(options: ForwarderOptions) {
    const url = parseServerUrl(options.url);
    url.searchParams.set("type", "channel");
    const { Agent, request } = url.protocol === "https:" ? https : http;
    this.#name = url.origin + url.pathname;
    // This timeout is for idle connections only: for a busy one it would notify the request, which
    // does not listen.
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: SOCKETS_MAX,
      maxFreeSockets: IDLE_SOCKETS_MAX,
      timeout: options.idleMs ?? IDLE_MS,
    });
    this.#request = request;
    this.#headers = {
      "Content-Type": "application/json",
      Authorization: `Bearer ${options.secret}`,
    };
    try {
      http.validateHeaderValue("Authorization", `Bearer ${options.secret}`);
    } catch {
      throw new ConfigError(
        "server secret: it contains a character that is not allowed in an HTTP header",
      );
    }
    this.#options = {
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port,
      path: url.pathname + url.search,
      method: "POST",
      agent: this.#agent,
    };
    this.#answerBytesMax = options.answerBytesMax;
    this.#log = options.log;
  }

  /** Number of forwards without a result. */
  get open(): number {
    return this.#open.size;
  }

  /**
   * @param timeoutMs covers the whole exchange, up to the end of the answer
   * @returns for `cancel`
   */
  send(body: Buffer, timeoutMs: number, done: Done): Forward {
    const forward: Forward = { body, done, isSent: false, request: undefined, timer: undefined };
    this.#open.add(forward);
    if (this.#ended) {
      setImmediate(() => this.#fail(forward, SHUTTING_DOWN));
      return forward;
    }
    forward.timer = setTimeout(
      () => this.#fail(forward, `no answer within ${timeoutMs} ms`, "timed_out"),
      timeoutMs,
    );
    this.#start(forward);
    return forward;
  }

  /** Nobody waits for this forward any more: closes its connection, without a result. */
  cancel(forward: Forward): void {
    forward.done = () => {};
    this.#done(forward, unanswered("broken_off"));
  }

  /** Ends all forwards in flight, and any sent later. */
  end(): void {
    this.#ended = true;
    for (const forward of [...this.#open]) this.#fail(forward, SHUTTING_DOWN);
  }

  /** Cancels all forwards in flight. */
  destroy(): void {
    for (const forward of [...this.#open]) this.cancel(forward);
    this.#agent.destroy();
  }

  #start(forward: Forward): void {
    const request = this.#request({
      ...this.#options,
      headers: { ...this.#headers, "Content-Length": forward.body.byteLength },
    });
    forward.request = request;
    // If a name has several addresses and none answers, the error has no message of its own.
    request.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(forward, error.message || (error.code ?? error.name)),
    );
    request.on("socket", (socket) => {
      const onSent = () => void (forward.isSent = true);
      if (!socket.connecting) onSent();
      else socket.once("encrypted" in socket ? "secureConnect" : "connect", onSent);
    });
    request.on("response", (response) => this.#read(forward, response));
    // An informational response to something we did not ask for; no final answer will follow.
    request.on("upgrade", ({ statusCode = 0 }, socket) => {
      socket.destroy();
      this.#logRefusal(statusCode);
      this.#answered(forward, statusCode, NOTHING);
    });
    request.end(forward.body);
  }

  #read(forward: Forward, response: http.IncomingMessage): void {
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return this.#taken(forward, response);
    this.#logRefusal(status);
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes <= this.#answerBytesMax) return;
      this.#log.debug("the app server's answer is too long and was truncated", {
        status,
        answer_bytes_max: this.#answerBytesMax,
      });
      this.#answered(
        forward,
        status,
        Buffer.concat(chunks, bytes).subarray(0, this.#answerBytesMax),
      );
    });
    response.on("end", () =>
      this.#answered(
        forward,
        status,
        chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes),
      ),
    );
    response.on("error", (error) => this.#fail(forward, error.message));
    response.on("close", () =>
      this.#fail(forward, "the connection was closed in the middle of the answer"),
    );
  }

  /**
   * A 2xx status means the app server has accepted the message. The rest of the answer is read only
   * to keep the connection, if it is short.
   */
  #taken(forward: Forward, response: http.IncomingMessage): void {
    const done = () => this.#answered(forward, response.statusCode ?? 0, NOTHING);
    clearTimeout(forward.timer);
    forward.timer = setTimeout(done, REST_TIMEOUT_MS);
    for (const event of ["end", "error", "close"]) response.on(event, done);
    response.resume();
  }

  /** @param outcome default: by whether a part of the request was sent */
  #fail(forward: Forward, reason: string, outcome?: Exclude<Outcome, "answered">): void {
    if (!this.#open.has(forward)) return;
    this.#log.warn("a forward failed", { url: this.#name, reason });
    this.#done(forward, unanswered(outcome ?? (forward.isSent ? "broken_off" : "unreachable")));
  }

  #answered(forward: Forward, status: number, body: Buffer): void {
    this.#done(forward, { outcome: "answered", status, body });
  }

  #logRefusal(status: number): void {
    const hint =
      status >= 300 && status < 400
        ? "redirects are not followed: set --server-url to the final address"
        : undefined;
    // The app's own `error()` answers with 400: not the operator's concern.
    const fields = { url: this.#name, status, hint };
    if (status === 400) this.#log.debug("the app server rejected a message", fields);
    else this.#log.warn("the app server rejected a message", fields);
  }

  /** The first result counts; later events of the connection are ignored. */
  #done(forward: Forward, result: ForwardResult): void {
    if (!this.#open.delete(forward)) return;
    clearTimeout(forward.timer);
    const request = forward.request;
    forward.request = undefined;
    // An answer read to its end leaves its connection for the next forward.
    if (request !== undefined && request.res?.complete !== true) request.destroy();
    forward.done(result);
  }
}

export interface Forward {
  readonly body: Buffer;
  done: Done;
  /** A part of the request was sent. */
  isSent: boolean;
  request: (http.ClientRequest & { res?: http.IncomingMessage }) | undefined;
  timer: NodeJS.Timeout | undefined;
}

function parseServerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    const shown = JSON.stringify(text.replace(/[^/]*@/, "...@"));
    throw new ConfigError(
      `server URL: expected a URL like http://localhost:3000/api/covenant, got ${shown}`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError(
      "server URL: a user name and password in it are not sent; remove them and use the " +
        "server secret",
    );
  }
  return url;
}
