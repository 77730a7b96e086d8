// Carries forwards to the app server. Every forward ends in exactly one answer: the server's status and the beginning of its
// body, or status 0. Owns the connections to the app server; knows nothing of what is forwarded.
// `http.request` with an agent, not `fetch`: a fifth of the CPU per POST.
import * as http from "node:http";
import * as https from "node:https";
import { ConfigError } from "../module/hub.js";
import type { Log } from "./log.js";

export interface ForwarderOptions {
  readonly url: string;
  readonly secret: string;
  readonly answerBytesMax: number;
  readonly log: Log;
}

export type Answered = (status: number, body: Buffer) => void;

const SOCKETS_MAX = 256;
const NOTHING = Buffer.alloc(0);

export class Forwarder {
  readonly #agent: http.Agent;
  readonly #request: (options: http.RequestOptions) => http.ClientRequest;
  readonly #options: http.RequestOptions;
  readonly #headers: http.OutgoingHttpHeaders;
  readonly #answerBytesMax: number;
  readonly #log: Log;
  readonly #open = new Set<Forward>();

  /** @throws ConfigError when the URL or the secret cannot be used */
  constructor(options: ForwarderOptions) {
    const url = parseServerUrl(options.url);
    url.searchParams.set("type", "channel");
    const { Agent, request } = url.protocol === "https:" ? https : http;
    this.#agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX, maxFreeSockets: SOCKETS_MAX });
    this.#request = request;
    this.#headers = { "Content-Type": "application/json", Authorization: `Bearer ${options.secret}` };
    try {
      http.validateHeaderValue("Authorization", `Bearer ${options.secret}`);
    } catch {
      throw new ConfigError("server secret: it has a character that cannot stand in an HTTP header");
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

  /** Forwards that have not been answered yet. */
  get open(): number {
    return this.#open.size;
  }

  /** @param timeoutMs for all of it, from now to the end of the answer */
  send(body: Buffer, timeoutMs: number, answered: Answered): void {
    const forward: Forward = { body, answered, request: undefined, timer: undefined };
    this.#open.add(forward);
    forward.timer = setTimeout(() => this.#fail(forward, `no answer within ${timeoutMs} ms`), timeoutMs);
    this.#start(forward, true);
  }

  /** Gives up everything in flight, without an answer to anyone. */
  destroy(): void {
    for (const forward of this.#open) {
      forward.answered = () => {};
      this.#done(forward, 0, NOTHING);
    }
    this.#agent.destroy();
  }

  #start(forward: Forward, mayRetry: boolean): void {
    const request = this.#request({ ...this.#options, headers: { ...this.#headers, "Content-Length": forward.body.byteLength } });
    forward.request = request;
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (forward.request !== request) return;
      // A server may close an idle connection just as we use it again: then nothing was wrong with the request.
      const stale = request.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE");
      if (stale && mayRetry) this.#start(forward, false);
      else this.#fail(forward, error.message);
    });
    request.on("response", (response) => {
      mayRetry = false;
      this.#read(forward, response);
    });
    request.end(forward.body);
  }

  #read(forward: Forward, response: http.IncomingMessage): void {
    const status = response.statusCode ?? 0;
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes <= this.#answerBytesMax) return;
      this.#log.debug("the app server's answer is cut", { status, answer_bytes_max: this.#answerBytesMax });
      this.#done(forward, status, Buffer.concat(chunks, bytes).subarray(0, this.#answerBytesMax));
    });
    response.on("end", () => this.#done(forward, status, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)));
    response.on("error", (error) => this.#fail(forward, error.message));
    response.on("close", () => this.#fail(forward, "the connection was closed in the middle of the answer"));
  }

  #fail(forward: Forward, reason: string): void {
    if (!this.#open.has(forward)) return;
    this.#log.warn("forward failed", { reason });
    this.#done(forward, 0, NOTHING);
  }

  /** The first outcome counts; whatever the connection still brings is of no interest. */
  #done(forward: Forward, status: number, body: Buffer): void {
    if (!this.#open.delete(forward)) return;
    clearTimeout(forward.timer);
    const request = forward.request;
    forward.request = undefined;
    // An answer that has been read to its end leaves its connection to the next forward.
    if (request !== undefined && request.res?.complete !== true) request.destroy();
    forward.answered(status, body);
  }
}

interface Forward {
  readonly body: Buffer;
  answered: Answered;
  request: (http.ClientRequest & { res?: http.IncomingMessage }) | undefined;
  timer: NodeJS.Timeout | undefined;
}

function parseServerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new ConfigError(`server URL: expected something like http://localhost:3000/api/covenant, got ${JSON.stringify(text)}`);
  }
  return url;
}
