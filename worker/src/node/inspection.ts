// `--inspect`: shows what goes in and out to developers on this machine, in the page of the
// inspector. It has a server of its own, which serves two things under a path that nobody can
// guess: the page, and the trace as Server-Sent Events. Nothing waits for a reader.
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { isIP } from "node:net";
import type { Recording } from "../session/io.js";
import { readDefaultBytes } from "./default-module.js";
import { UsageError } from "./flags.js";
import { inspectorPage } from "./inspector-page.js";
import type { Log } from "./log.js";
import type { Recorder } from "./recorder.js";
import { HOW_TO_RECORD } from "./recorder.js";

/** A reader that is so far behind misses lines. */
const BEHIND_BYTES_MAX = 8 * 1024 * 1024;
const READERS_MAX = 8;
/** Also of strangers on this machine: each is an open file. */
const CONNECTIONS_MAX = 64;
const HEAD_MS_MAX = 10_000;
const REFUSED =
  "refused: open the address that the server printed; its host must be localhost, an IP address " +
  "of this machine or the host of --inspect\n";
const SENT_AFTER_MS = 20;

export interface InspectAddress {
  readonly host: string;
  readonly port: number;
}

/** Listening at the given address failed. */
export class InspectError extends Error {
  constructor(
    readonly address: InspectAddress,
    cause: unknown,
  ) {
    super(`--inspect: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/**
 * [HOST:]PORT
 * @throws UsageError
 */
export function parseInspectAddress(text: string): InspectAddress {
  const [, bracketed, host = bracketed ?? "127.0.0.1", port = ""] =
    /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text) ?? [];
  if (port === "" || Number(port) > 65535)
    throw new UsageError(`--inspect: expected [HOST:]PORT, got ${JSON.stringify(text)}`);
  return { host, port: Number(port) };
}

/** What is inspected. */
export interface Inspected {
  /** What a reader gets first: the trace of a hub that has the same state. */
  snapshot(): Iterable<Uint8Array>;
  /** Makes the timer of the hub the same, too. */
  alignTimer(): void;
}

interface Reader {
  readonly response: ServerResponse;
  /** So many lines were not sent. 0: it is not behind. */
  missed: number;
  /** Unsent bytes from which on it misses lines. */
  unsentBytesMax: number;
}

/** Takes the trace, for its readers and for the file of --record. */
export class Inspection implements Recording {
  readonly #address: InspectAddress;
  readonly #inspected: Inspected;
  readonly #file: Recorder | undefined;
  readonly #log: Log;
  readonly #path = `/${randomBytes(16).toString("hex")}/`;
  readonly #server = createServer(
    { keepAlive: true, headersTimeout: HEAD_MS_MAX, connectionsCheckingInterval: 1000 },
    (request, response) => this.#take(request, response),
  );
  readonly #readers = new Set<Reader>();
  #unsent: string[] = [];

  constructor(address: InspectAddress, inspected: Inspected, file: Recorder | undefined, log: Log) {
    this.#address = address;
    this.#inspected = inspected;
    this.#file = file;
    this.#log = log;
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @returns the address of the page */
  async listen(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#address.port, this.#address.host, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) =>
          this.#log.error("the inspector reports an error", { error: error.message }),
        );
        resolve();
      });
    });
    this.#server.unref();
    const { port } = this.#server.address() as AddressInfo;
    const { host } = this.#address;
    return `http://${host.includes(":") ? `[${host}]` : host}:${port}${this.#path}`;
  }

  async close(): Promise<void> {
    this.#send();
    for (const { response } of this.#readers) response.end();
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#file?.close();
  }

  // --- the recording ---

  get isActive(): boolean {
    return true;
  }

  place(): string {
    return this.#file?.place() ?? HOW_TO_RECORD;
  }

  begin(firstLine: Uint8Array): void {
    this.#file?.begin(firstLine);
    this.#add(`${Buffer.from(firstLine).toString()}\n`);
  }

  restored(): void {
    this.#file?.restored();
  }

  write(lines: Uint8Array): void {
    this.#file?.write(lines);
    if (this.#readers.size > 0) this.#add(Buffer.from(lines).toString());
  }

  #add(lines: string): void {
    if (this.#readers.size === 0 || lines === "") return;
    if (this.#unsent.push(lines) === 1) setTimeout(() => this.#send(), SENT_AFTER_MS);
  }

  #send(): void {
    if (this.#unsent.length === 0) return;
    const { text, count } = eventOf(this.#unsent.join(""));
    this.#unsent = [];
    for (const reader of this.#readers) {
      if (reader.missed > 0 || reader.response.writableLength > reader.unsentBytesMax)
        reader.missed += count;
      else reader.response.write(text);
    }
  }

  /** Sends the state: to a new reader, and after a gap. */
  #catchUp(reader: Reader): void {
    this.#send();
    const { missed } = reader;
    reader.missed = 0;
    const lines = missed > 0 ? [`{"gap":${missed}}\n`] : [];
    try {
      for (const part of this.#inspected.snapshot()) lines.push(Buffer.from(part).toString());
    } catch (error) {
      this.#log.error("the inspector cannot show the state", { error: String(error) });
      reader.response.destroy();
      return;
    }
    reader.response.write(eventOf(lines.join("")).text);
    // The state itself may be larger.
    reader.unsentBytesMax = reader.response.writableLength + BEHIND_BYTES_MAX;
    this.#inspected.alignTimer();
  }

  // --- requests ---

  #take(request: IncomingMessage, response: ServerResponse): void {
    response.setHeader("cache-control", "no-store");
    response.setHeader("content-security-policy", "frame-ancestors 'none'");
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-resource-policy", "same-origin");
    response.setHeader("referrer-policy", "no-referrer");
    response.setHeader("x-content-type-options", "nosniff");
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      response.writeHead(refusal, { "content-type": "text/plain" }).end(REFUSED);
    } else if (request.url === `${this.#path}live`) {
      this.#read(response);
    } else {
      void this.#page(response);
    }
  }

  /** A page of another site must get nothing, even if its name resolves to this machine. */
  #refusalOf({ headers, method, url = "" }: IncomingMessage): number | undefined {
    if (!this.#isOurs(headers.host)) return 403;
    if (headers.origin !== undefined && headers.origin !== `http://${headers.host}`) return 403;
    const site = headers["sec-fetch-site"];
    if (site !== undefined && site !== "same-origin" && site !== "none") return 403;
    const given = Buffer.from(url.slice(0, this.#path.length).padEnd(this.#path.length));
    const path = Buffer.from(this.#path);
    const isRight = given.length === path.length && timingSafeEqual(given, path);
    const rest = url.slice(this.#path.length);
    if (!isRight || (rest !== "" && rest !== "live")) return 404;
    return method === "GET" ? undefined : 405;
  }

  /** Addresses cannot be rebound to another machine, names can. */
  #isOurs(host: string | undefined): boolean {
    const { port } = this.#server.address() as AddressInfo;
    const [, name, given = "80"] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(lower(host)) ?? [];
    if (name === undefined || Number(given) !== port) return false;
    const bare = name.replace(/^\[|\]$/g, "");
    return isIP(bare) !== 0 || bare === "localhost" || bare === lower(this.#address.host);
  }

  async #page(response: ServerResponse): Promise<void> {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    try {
      const module = readDefaultBytes().bytes;
      for await (const piece of inspectorPage({ module, isLive: true })) response.write(piece);
    } catch (error) {
      this.#log.error("the inspector cannot be shown", { error: String(error) });
    }
    response.end();
  }

  #read(response: ServerResponse): void {
    if (this.#readers.size >= READERS_MAX) {
      response
        .writeHead(503, { "content-type": "text/plain" })
        .end(`expected at most ${READERS_MAX} open pages; close one\n`);
      return;
    }
    this.#send(); // what was before it is not for the new reader
    const reader: Reader = { response, missed: 0, unsentBytesMax: 0 };
    this.#readers.add(reader);
    response.on("drain", () => {
      if (reader.missed > 0) this.#catchUp(reader);
    });
    response.on("close", () => this.#readers.delete(reader));
    response.on("error", () => this.#readers.delete(reader));
    response.writeHead(200, { "content-type": "text/event-stream" });
    this.#catchUp(reader);
  }
}

/** Names of hosts may have any case: browsers send them in lower case. */
function lower(host = ""): string {
  return host.toLowerCase();
}

/**
 * Lines as one event. Without hashes: they cover all lines since the start of the hub, which a
 * reader does not have.
 */
function eventOf(lines: string): { text: string; count: number } {
  const sent = lines.split("\n").filter((line) => line !== "" && !line.startsWith('{"hash"'));
  if (sent.length === 0) return { text: "", count: 0 };
  return { text: `${sent.map((line) => `data: ${line}\n`).join("")}\n`, count: sent.length };
}
