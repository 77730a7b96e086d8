// Sends forwards to the app server, each at most once: a repeated forward might take effect twice.
// Each forward ends in exactly one result, unless it is cancelled. Owns the connections to the app
// server; does not know what it forwards.
import type { ForwardResult, Outcome } from "../session/outcome.js";
import { unanswered } from "../session/outcome.js";
import { hintOf, isFollowed, REDIRECTS_MAX, redirected, shown } from "../session/redirect.js";
import { USER_AGENT } from "../version.js";
import { AnswerReader } from "./answer-reader.js";
import type { LinkOwner } from "./app-server-link.js";
import { Link } from "./app-server-link.js";
import type { Log } from "./log.js";
import type { Target } from "./server-url.js";
import { parseServerUrl, targetOf } from "./server-url.js";

export interface ForwarderOptions {
  readonly url: string;
  /** Printable ASCII. */
  readonly secret: string;
  readonly answerBytesMax: number;
  readonly log: Log;
  /** How long an idle connection is kept at most. Default: 4 s. */
  readonly idleMs?: number;
  /** Connections at once; further forwards wait. Default: 4,096. */
  readonly linksMax?: number;
}

export type Done = (result: ForwardResult) => void;

const LINKS_MAX = 4096;
const IDLE_LINKS_MAX = 256;
/** Less than the idle timeout of most servers (Node: 5 s). */
const IDLE_MS = 4000;
const IDLE_STEP_MS = 250;
/**
 * An idle connection is dropped this much before the app server would close it, or after half the
 * time: a message that is under way when the app server closes is lost.
 */
const IDLE_MARGIN_MS = 1000;
/** After this time, how long the app server was seen to keep idle connections is forgotten. */
const IDLE_BOUND_MS = 600_000;
/** Time allowed for the rest of an answer whose status suffices. */
const REST_TIMEOUT_MS = 100;
/** The part of a forward's time after which the status of an incomplete answer is the result. */
const STATUS_TIME = 0.9;
const SHUTTING_DOWN = "the Sidekick is shutting down";

export class Forwarder implements LinkOwner {
  readonly #target: Target;
  readonly #secret: string;
  readonly #answerBytesMax: number;
  readonly #log: Log;
  readonly #idleMs: number;
  readonly #linksMax: number;
  readonly #open = new Set<Forward>();
  readonly #waiting = new Set<Forward>();
  readonly #links = new Map<Link, Forward | undefined>();
  /** Longest idle first. */
  #idle: Link[] = [];
  #idleTimer: NodeJS.Timeout | undefined;
  /** The app server has closed a connection that was idle for little more than this. */
  #idleBound = { ms: Number.POSITIVE_INFINITY, until: 0 };
  #ended = false;

  /** @throws ConfigError if the URL is invalid */
  constructor(options: ForwarderOptions) {
    this.#target = parseServerUrl(options.url);
    this.#secret = options.secret;
    this.#answerBytesMax = options.answerBytesMax;
    this.#log = options.log;
    this.#idleMs = options.idleMs ?? IDLE_MS;
    this.#linksMax = options.linksMax ?? LINKS_MAX;
  }

  /** Number of forwards without a result. */
  get open(): number {
    return this.#open.size;
  }

  /**
   * @param timeoutMs the hub's: near its end the status of an incomplete answer is the result
   * @param limitMs covers the whole exchange, up to the end of the answer
   * @returns for `cancel`
   */
  send(body: Buffer, timeoutMs: number, limitMs: number, done: Done): Forward {
    const forward: Forward = {
      body,
      done,
      statusUntil: performance.now() + timeoutMs * STATUS_TIME,
      target: this.#target,
      redirects: 0,
      link: undefined,
      reader: undefined,
      timer: undefined,
      restTimer: undefined,
    };
    this.#open.add(forward);
    if (this.#ended) {
      setImmediate(() => this.#giveUp(forward, SHUTTING_DOWN));
      return forward;
    }
    forward.timer = setTimeout(
      () => this.#giveUp(forward, `no answer within ${limitMs} ms`, "timed_out"),
      limitMs,
    );
    this.#start(forward);
    return forward;
  }

  /** The hub's time for this forward is over: closes its connection, without a result. */
  cancel(forward: Forward): void {
    if (!this.#open.has(forward)) return;
    const reason = "no answer in time (forward_timeout_ms)";
    this.#log.warn("a forward failed", { url: shown(forward.target.url), reason });
    this.#forget(forward);
  }

  /** Ends all forwards in flight, and any sent later. */
  end(): void {
    this.#ended = true;
    for (const forward of [...this.#open]) this.#giveUp(forward, SHUTTING_DOWN);
  }

  /** Cancels all forwards in flight. */
  destroy(): void {
    this.#ended = true;
    for (const forward of [...this.#open]) this.#forget(forward);
    for (const link of [...this.#links.keys()]) this.#drop(link);
    clearTimeout(this.#idleTimer);
  }

  onRead(link: Link): void {
    const forward = this.#links.get(link)!;
    const { reader } = forward as { reader: AnswerReader };
    if (reader.isOver) {
      if (reader.status === 0) this.#giveUp(forward, reader.error);
      else this.#answered(forward);
    } else if (reader.status !== 0 && forward.restTimer === undefined) {
      // The status stands. The rest may still say why, or keep the connection usable.
      const left = Math.max(forward.statusUntil - performance.now(), 0);
      forward.restTimer = setTimeout(
        () => this.#answered(forward),
        reader.isTaken ? Math.min(left, REST_TIMEOUT_MS) : left,
      );
    }
  }

  onGone(link: Link, reason: string): void {
    const forward = this.#links.get(link);
    if (forward === undefined) {
      this.#learn(performance.now() - link.idleSince);
      this.#idle = this.#idle.filter((one) => one !== link);
      return this.#drop(link);
    }
    // No answer on a reused connection: the app server closed it when the request was under way.
    if (link.idleMs > 0 && forward.reader!.isUntouched) this.#learn(link.idleMs);
    this.#giveUp(forward, reason);
  }

  #start(forward: Forward): void {
    const idle = this.#isHome(forward) ? this.#takeIdle() : undefined;
    if (idle !== undefined) return this.#carry(idle, forward);
    if (this.#links.size >= this.#linksMax) {
      const longestIdle = this.#idle.shift(); // no forward waits while a connection is idle
      if (longestIdle === undefined) return void this.#waiting.add(forward);
      this.#drop(longestIdle);
    }
    this.#carry(new Link(forward.target, this), forward);
  }

  /** Not redirected to another origin. */
  #isHome(forward: Forward): boolean {
    return forward.target.url.origin === this.#target.url.origin;
  }

  #takeIdle(): Link | undefined {
    for (;;) {
      const link = this.#idle.pop();
      if (link === undefined) return undefined;
      link.idleMs = performance.now() - link.idleSince;
      if (link.idleMs < link.idleMsMax) return link;
      this.#drop(link);
    }
  }

  #carry(link: Link, forward: Forward): void {
    this.#links.set(link, forward);
    forward.link = link;
    forward.reader = new AnswerReader(this.#answerBytesMax);
    link.carry(this.#requestOf(forward), forward.reader);
  }

  #requestOf(forward: Forward): Buffer {
    const { body } = forward;
    const { url } = forward.target;
    // Another origin must not learn the secret.
    const isHome = this.#isHome(forward);
    const head =
      `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n` +
      `User-Agent: ${USER_AGENT}\r\nContent-Type: application/json\r\n` +
      (isHome ? `Authorization: Bearer ${this.#secret}\r\n` : "") +
      `Connection: keep-alive\r\nContent-Length: ${body.byteLength}\r\n\r\n`;
    const request = Buffer.allocUnsafe(head.length + body.byteLength);
    request.write(head, "latin1");
    request.set(body, head.length);
    return request;
  }

  /** A final status line has come: the result can only be that status. */
  #answered(forward: Forward): void {
    const { reader, link, target } = forward as { reader: AnswerReader; link: Link } & Forward;
    const { status, error } = reader;
    if (reader.isClean && link.isFlushed && this.#isHome(forward))
      this.#release(link, forward, reader.keepAliveMs);
    else this.#drop(link);
    if (reader.isCut)
      this.#log.debug("the app server's answer is too long and was truncated", {
        status,
        answer_bytes_max: this.#answerBytesMax,
      });
    if (error !== "")
      this.#log.warn("the app server's answer is unreadable; its status counts", {
        url: shown(target.url),
        status,
        reason: error,
      });
    if (this.#follow(forward, status, reader.location)) return;
    if (!reader.isTaken) this.#logRefusal(forward, status, reader.location);
    const body = status === 101 ? Buffer.alloc(0) : reader.body;
    this.#done(forward, { outcome: "answered", status, body });
  }

  /** Returns true if the forward is on its way to where the app server has redirected it. */
  #follow(forward: Forward, status: number, location: string | undefined): boolean {
    if (!isFollowed(status) || forward.redirects === REDIRECTS_MAX || this.#ended) return false;
    const url = redirected(forward.target.url, location);
    if (url === undefined) return false;
    this.#log.warn("the app server redirects: set --server-url to the final address", {
      url: shown(forward.target.url),
      status,
      location: shown(url),
    });
    clearTimeout(forward.restTimer);
    Object.assign(forward, { link: undefined, reader: undefined, restTimer: undefined });
    forward.target = targetOf(url);
    forward.redirects++;
    this.#start(forward);
    return true;
  }

  /** The link is idle, or carries a forward that was waiting. */
  #release(link: Link, forward: Forward, announcedMs: number | undefined): void {
    forward.link = undefined;
    const now = performance.now();
    link.idleSince = now;
    link.idleMs = 0;
    const [next] = this.#waiting;
    if (next !== undefined && !this.#isHome(next)) return this.#drop(link); // which starts it
    const waiting = this.#takeWaiting();
    if (waiting !== undefined) return this.#carry(link, waiting);
    this.#links.set(link, undefined);
    link.idleMsMax = Math.min(
      this.#idleMs,
      this.#idleBound.until > now ? this.#idleBound.ms : this.#idleMs,
      announcedMs === undefined ? this.#idleMs : withMargin(announcedMs),
    );
    if (link.idleMsMax <= 0 || this.#idle.length >= IDLE_LINKS_MAX || this.#ended)
      return this.#drop(link);
    link.rest();
    this.#idle.push(link);
    this.#dropIdleLater();
  }

  #drop(link: Link): void {
    link.close();
    if (!this.#links.delete(link)) return;
    const next = this.#takeWaiting();
    if (next !== undefined) this.#start(next);
  }

  #takeWaiting(): Forward | undefined {
    if (this.#ended) return undefined;
    const [next] = this.#waiting;
    if (next !== undefined) this.#waiting.delete(next);
    return next;
  }

  #dropIdleLater(): void {
    this.#idleTimer ??= setTimeout(() => {
      this.#idleTimer = undefined;
      const now = performance.now();
      const isOver = (link: Link) => now - link.idleSince >= link.idleMsMax;
      const over = this.#idle.filter(isOver);
      this.#idle = this.#idle.filter((link) => !isOver(link));
      for (const link of over) this.#drop(link);
      if (this.#idle.length > 0) this.#dropIdleLater();
    }, IDLE_STEP_MS).unref();
  }

  /** The app server has closed a connection that was idle for so long: others are kept for less. */
  #learn(idleMs: number): void {
    const now = performance.now();
    const ms = withMargin(idleMs);
    if (this.#idleBound.until < now || ms < this.#idleBound.ms)
      this.#idleBound = { ms, until: now + IDLE_BOUND_MS };
  }

  /** @param outcome without a status line; default: by whether a part of the request was sent */
  #giveUp(forward: Forward, reason: string, outcome?: Exclude<Outcome, "answered">): void {
    if (!this.#open.has(forward)) return;
    if (forward.reader !== undefined && forward.reader.status !== 0) return this.#answered(forward);
    this.#log.warn("a forward failed", { url: shown(forward.target.url), reason });
    const isSent = forward.link?.isSent === true;
    this.#done(forward, unanswered(outcome ?? (isSent ? "broken_off" : "unreachable")));
  }

  #logRefusal(forward: Forward, status: number, location: string | undefined): void {
    const { url } = forward.target;
    const isElsewhere = url.origin !== this.#target.url.origin;
    const fields = {
      url: shown(url),
      status,
      hint:
        isElsewhere && (status === 401 || status === 403)
          ? "after a redirect to another origin, which does not get the server secret"
          : hintOf(url, status, location, "--server-url"),
    };
    // The app's own `error()` answers with 400: not the operator's concern.
    if (status === 400) this.#log.debug("the app server rejected a message", fields);
    else this.#log.warn("the app server rejected a message", fields);
  }

  #forget(forward: Forward): void {
    forward.done = () => {};
    this.#done(forward, unanswered("broken_off"));
  }

  /** The first result counts; later events of the connection are ignored. */
  #done(forward: Forward, result: ForwardResult): void {
    if (!this.#open.delete(forward)) return;
    this.#waiting.delete(forward);
    clearTimeout(forward.timer);
    clearTimeout(forward.restTimer);
    if (forward.link !== undefined) this.#drop(forward.link);
    forward.done(result);
  }
}

export interface Forward {
  readonly body: Buffer;
  done: Done;
  /** From then on an incomplete answer's status is the result; in ms of `performance.now()`. */
  readonly statusUntil: number;
  target: Target;
  redirects: number;
  link: Link | undefined;
  reader: AnswerReader | undefined;
  timer: NodeJS.Timeout | undefined;
  restTimer: NodeJS.Timeout | undefined;
}

function withMargin(ms: number): number {
  return ms - Math.min(IDLE_MARGIN_MS, ms / 2);
}
