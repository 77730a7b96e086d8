// Carries forwards to the app server, each at most once: one that is sent again might be done twice. Every forward ends in exactly
// one answer: the server's status and the beginning of its body, or status 0. Owns the connections to the app server; knows nothing of what is forwarded.
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
  /** For tests. */
  readonly idleMs?: number;
}

export type Answered = (status: number, body: Buffer) => void;

const SOCKETS_MAX = 4096;
const IDLE_SOCKETS_MAX = 256;
/** Then an idle connection is dropped: before the servers do (Node's after 5 s), so that no forward meets one that is just closing. */
const IDLE_MS = 4000;
/** How long an answer whose status is enough may take to bring the rest. */
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
  /** The server URL as it may be logged: a query may hold secrets. */
  readonly #name: string;
  readonly #open = new Set<Forward>();
  #ended = false;

  /** @throws ConfigError when the URL or the secret cannot be used */
  constructor(options: ForwarderOptions) {
    const url = parseServerUrl(options.url);
    url.searchParams.set("type", "channel");
    const { Agent, request } = url.protocol === "https:" ? https : http;
    this.#name = url.origin + url.pathname;
    // The time-out is for idle connections only: of one in use it would tell the request, which does not listen.
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
        "server secret: it has a character that cannot stand in an HTTP header",
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

  /** Forwards that have not been answered yet. */
  get open(): number {
    return this.#open.size;
  }

  /** @param timeoutMs for all of it, from now to the end of the answer */
  send(body: Buffer, timeoutMs: number, answered: Answered): void {
    const forward: Forward = { body, answered, request: undefined, timer: undefined };
    this.#open.add(forward);
    if (this.#ended) {
      setImmediate(() => this.#fail(forward, SHUTTING_DOWN));
      return;
    }
    forward.timer = setTimeout(
      () => this.#fail(forward, `no answer within ${timeoutMs} ms`),
      timeoutMs,
    );
    this.#start(forward);
  }

  /** Ends everything in flight, and whatever is still given to `send`, with status 0. */
  end(): void {
    this.#ended = true;
    for (const forward of [...this.#open]) this.#fail(forward, SHUTTING_DOWN);
  }

  /** Gives up everything in flight, without an answer to anyone. */
  destroy(): void {
    for (const forward of this.#open) {
      forward.answered = () => {};
      this.#done(forward, 0, NOTHING);
    }
    this.#agent.destroy();
  }

  #start(forward: Forward): void {
    const request = this.#request({
      ...this.#options,
      headers: { ...this.#headers, "Content-Length": forward.body.byteLength },
    });
    forward.request = request;
    // Where a name has several addresses, and none of them answers, the error has no message of its own.
    request.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(forward, error.message || (error.code ?? error.name)),
    );
    request.on("response", (response) => this.#read(forward, response));
    // Nobody asked for one, and no answer will follow.
    request.on("upgrade", ({ statusCode = 0 }, socket) => {
      socket.destroy();
      this.#logRefusal(statusCode);
      this.#done(forward, statusCode, NOTHING);
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
      this.#log.debug("the app server's answer is cut", {
        status,
        answer_bytes_max: this.#answerBytesMax,
      });
      this.#done(forward, status, Buffer.concat(chunks, bytes).subarray(0, this.#answerBytesMax));
    });
    response.on("end", () =>
      this.#done(forward, status, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)),
    );
    response.on("error", (error) => this.#fail(forward, error.message));
    response.on("close", () =>
      this.#fail(forward, "the connection was closed in the middle of the answer"),
    );
  }

  /** Whoever says 2xx has taken the message. The rest of the answer is awaited for the sake of the connection only, which is kept when it is short. */
  #taken(forward: Forward, response: http.IncomingMessage): void {
    const done = () => this.#done(forward, response.statusCode ?? 0, NOTHING);
    clearTimeout(forward.timer);
    forward.timer = setTimeout(done, REST_TIMEOUT_MS);
    for (const event of ["end", "error", "close"]) response.on(event, done);
    response.resume();
  }

  #fail(forward: Forward, reason: string): void {
    if (!this.#open.has(forward)) return;
    this.#log.warn("a forward failed", { url: this.#name, reason });
    this.#done(forward, 0, NOTHING);
  }

  #logRefusal(status: number): void {
    const hint =
      status >= 300 && status < 400
        ? "redirects are not followed: set --server-url to the final address"
        : undefined;
    // 400 is what the app's own code answers with `error()`: not the operator's business.
    const fields = { url: this.#name, status, hint };
    if (status === 400) this.#log.debug("the app server refused a message", fields);
    else this.#log.warn("the app server refused a message", fields);
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
    const shown = JSON.stringify(text.replace(/[^/]*@/, "...@"));
    throw new ConfigError(
      `server URL: expected something like http://localhost:3000/api/covenant, got ${shown}`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError(
      "server URL: a user and password in it are not sent; leave them out, the app server knows the Sidekick by its server secret",
    );
  }
  return url;
}
