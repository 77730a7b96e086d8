// The Sidekick as a server: `node:http` and `ws` around a Host. Owns listening, accepting and shutting down.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import * as http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerOptions } from "ws";
import { WebSocketServer } from "ws";
import type { HubLike } from "../module/hub.js";
import { compileModuleSync, Hub } from "../module/hub.js";
import { ClientSocket } from "./client-socket.js";
import { Forwarder } from "./forwarder.js";
import type { HostOptions } from "./host.js";
import { Host } from "./host.js";
import { announcesBody, HttpExchanges } from "./http-exchanges.js";
import type { Log } from "./log.js";
import { createLog, limitWarnings } from "./log.js";
import { warnOfOpenFiles } from "./open-files.js";
import { Recorder } from "./recorder.js";

export interface SidekickOptions {
  /** Default 3000; 0 takes any free port. */
  readonly port?: number;
  /** Default: all addresses. */
  readonly host?: string;
  /** The secrets an app server may present. Several, so that one can be replaced without a gap. */
  readonly secrets: readonly string[];
  /** Where messages of clients go; without it they are answered with an error. */
  readonly serverUrl?: string;
  /** What the Sidekick presents to the app server. */
  readonly serverSecret?: string;
  /** Limits by name, as in docs/protocol.md. The module checks them. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Appends a trace to this file. It contains messages and tokens. */
  readonly recordFile?: string;
  readonly log?: Log;
  /** How often sockets are pinged; one that is silent for three rounds is dropped. Default 30. */
  readonly pingSeconds?: number;
  /** Default: the module of this package. */
  readonly module?: WebAssembly.Module;
  /** For tests: puts something between the host and each hub it makes. */
  readonly wrapHub?: (hub: HubLike) => HubLike;
}

export interface Sidekick {
  /** The port it really listens on. */
  readonly port: number;
  /**
   * Stops: nobody new is let in, messages for the app server are refused, forwards in flight finish (for at most 7 s), sockets
   * are closed with 1001. Called again, it stops at once. Both resolve when all is over.
   */
  close(): Promise<void>;
}

/** The module that comes with this package. */
export function readDefaultModule(): WebAssembly.Module {
  const file = new URL("../../module/sidekick.wasm", import.meta.url);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Error(
      "module/sidekick.wasm cannot be read: in a checkout run scripts/build, else reinstall the package",
      { cause: error },
    );
  }
  return compileModuleSync(bytes);
}

/**
 * @throws ConfigError when secrets, limits, server URL or server secret cannot be used; Error with a `code` when the port cannot be had
 */
export async function startSidekick(options: SidekickOptions): Promise<Sidekick> {
  const log = limitWarnings(options.log ?? createLog("info"));
  const module = options.module ?? readDefaultModule();
  const config = { ...options.config, secrets: options.secrets };
  const wrap = options.wrapHub ?? ((hub: HubLike) => hub);
  const createHub = () =>
    wrap(Hub.create(module, JSON.stringify({ ...config, hash_seed: hashSeed() })));
  const hub = createHub();
  const { limits } = hub;
  warnOfOpenFiles(log, limits.clients_max);
  const forwarder =
    options.serverUrl === undefined
      ? undefined
      : new Forwarder({
          url: options.serverUrl,
          secret: options.serverSecret ?? "",
          answerBytesMax: limits.forward_answer_bytes_max,
          log,
        });
  const server = new Server({
    hub,
    createHub,
    forwarder,
    recorder: options.recordFile === undefined ? undefined : new Recorder(options.recordFile, log),
    log,
    pingSeconds: options.pingSeconds ?? 30,
  });
  await server.listen(options.port ?? 3000, options.host);
  return server;
}

/** Unpredictable: resource names come from strangers, who must not be able to choose colliding ones. */
function hashSeed(): string {
  return randomBytes(8).toString("hex");
}

const TCP_KEEP_ALIVE_MS = 60_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** Longer than the idle time after which HTTP clients drop a connection, so that they do not find it closed under them. */
const IDLE_TIMEOUT_MS = 65_000;
const CLOSE_HANDSHAKE_MS = 5_000;
const UPGRADE_LINGER_MS = 2_000;
const CONNECTIONS_BESIDE_CLIENTS_MAX = 4096;
const CONNECTIONS_WAITING_MAX = 4096; // when everybody comes back at once, after a restart
/** Together less than the 10 s after which container runtimes kill. */
const SHUTDOWN_FORWARDS_MS = 7_000;
const SHUTDOWN_SOCKETS_MS = 1_000;
/** Bytes over the limit on a frame up to which the hub answers with a clear error; beyond, `ws` closes with 1009. */
const FRAME_BYTES_OVER_MAX = 64 * 1024;
/** Pieces in which a frame may come. Each costs memory, however small it is. */
const FRAGMENTS_MAX = 1024;
const CHUNK_BYTES_SENSIBLE = 256;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_ABNORMAL = 1006;
/** As a proxy may send it, the target has a scheme and a host (RFC 9112, 3.2.2). */
const SOCKET_TARGET = /^(?:https?:\/\/[^/?#]+)?\/socket(?:\?|$)/;

class Server implements Sidekick {
  readonly #http: http.Server;
  readonly #sockets: WebSocketServer;
  readonly #exchanges: HttpExchanges;
  readonly #options: HostOptions;
  readonly #host: Host;
  #closing: Promise<void> | undefined;
  #hurry = false;
  #connections = 0; // WebSockets among them

  constructor(options: HostOptions) {
    this.#options = options;
    this.#exchanges = new HttpExchanges(options.log);
    this.#host = new Host(this.#exchanges, options);
    const frameBytesMax = options.hub.limits.frame_bytes_max;
    const socketOptions: ServerOptions & {
      closeTimeout: number;
      maxFragments: number;
      maxBufferedChunks: number;
    } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      WebSocket: ClientSocket,
      maxPayload: frameBytesMax + FRAME_BYTES_OVER_MAX,
      maxFragments: FRAGMENTS_MAX,
      maxBufferedChunks: FRAGMENTS_MAX + frameBytesMax / CHUNK_BYTES_SENSIBLE,
      // One frame per socket and turn of the event loop: a packet can hold ten thousand, which would all go before anybody else's.
      allowSynchronousEvents: false,
      // The hub checks, and says where the text is wrong.
      skipUTF8Validation: true,
      closeTimeout: CLOSE_HANDSHAKE_MS,
    };
    this.#sockets = new WebSocketServer(socketOptions);
    this.#http = http.createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: 5_000,
    });
    this.#http.on("connection", (stream) => this.#onConnection(stream));
    this.#http.on("request", (request, response) =>
      this.#exchanges.take(this.#host, request, response),
    );
    this.#http.on("checkContinue", (request, response) =>
      this.#exchanges.take(this.#host, request, response, true),
    );
    this.#http.on("upgrade", (request, stream, head) => this.#onUpgrade(request, stream, head));
  }

  get port(): number {
    return (this.#http.address() as AddressInfo | null)?.port ?? 0;
  }

  async listen(port: number, host: string | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen({ port, host, backlog: CONNECTIONS_WAITING_MAX }, () => {
        this.#http.off("error", reject);
        this.#host.start();
        this.#http.on("error", (error) =>
          this.#options.log.error("the server has a problem", { error: error.message }),
        );
        resolve();
      });
    }).catch(async (error: unknown) => {
      this.#host.destroy();
      await this.#options.recorder?.close();
      throw error;
    });
  }

  close(): Promise<void> {
    if (this.#closing === undefined) this.#closing = this.#shutDown();
    else this.#hurry = true;
    return this.#closing;
  }

  /** Strangers who ask once and stay must not use up the open files: when there are many, those with no request under way go. */
  #onConnection(stream: Duplex): void {
    this.#connections += 1;
    stream.once("close", () => (this.#connections -= 1));
    if (this.#connections - this.#host.clients.size > CONNECTIONS_BESIDE_CLIENTS_MAX)
      this.#http.closeIdleConnections();
  }

  #onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    stream.on("error", ignore);
    if (this.#closing === undefined && SOCKET_TARGET.test(request.url ?? "")) {
      this.#sockets.handleUpgrade(request, stream, head, (socket) =>
        this.#host.open(socket as ClientSocket, stream),
      );
      return;
    }
    // To upgrade is a request's wish, not its duty: anything else is answered as if it had not asked. Only its body, if it has
    // one, is no longer to be had from Node.
    const response = new http.ServerResponse(request);
    response.assignSocket(stream as Socket);
    response.setHeader("Connection", "close");
    response.on("finish", () => {
      // Node has let go of this connection: nobody else would end it if the peer does not.
      stream.resume().end();
      setTimeout(() => stream.destroy(), UPGRADE_LINGER_MS).unref();
    });
    if (this.#closing !== undefined) response.writeHead(503).end("Shutting down");
    else if (announcesBody(request)) refuseUpgrade(request, response);
    else this.#exchanges.takeWithoutBody(this.#host, request, response);
  }

  async #shutDown(): Promise<void> {
    let isClosed = false;
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve())).then(
      () => (isClosed = true),
    );
    this.#exchanges.end();
    this.#host.shutDown();
    const forwards = this.#options.forwarder;
    const areDone = () => (forwards?.open ?? 0) === 0;
    await this.#until(areDone, SHUTDOWN_FORWARDS_MS);
    forwards?.end();
    await this.#until(areDone, SHUTDOWN_SOCKETS_MS);
    for (const socket of this.#host.clients.values())
      socket.end(CLOSE_GOING_AWAY, "the Sidekick is shutting down");
    await this.#until(() => isClosed, SHUTDOWN_SOCKETS_MS);
    for (const socket of [...this.#host.clients.values()]) {
      socket.terminate();
      this.#host.onClosed(socket, CLOSE_ABNORMAL); // now: it would tell by and by, and the recording is to have all ends
    }
    forwards?.destroy();
    this.#http.closeAllConnections();
    await closed;
    this.#host.destroy();
    await this.#options.recorder?.close();
  }

  async #until(over: () => boolean, waitMs: number): Promise<void> {
    const end = performance.now() + waitMs;
    while (!over() && !this.#hurry && performance.now() < end) await sleep(10);
  }
}

function refuseUpgrade(request: IncomingMessage, response: http.ServerResponse): void {
  const protocol = JSON.stringify(request.headers.upgrade ?? "").slice(0, 100);
  response.writeHead(400, { "Content-Type": "text/plain; charset=utf-8" });
  response.end(`this request asks for an upgrade to ${protocol}; send it without`);
}

function ignore(): void {}
