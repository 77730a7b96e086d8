// The server: `node:http` and `ws` around a Host. Owns listening, accepting and shutting down.
import cluster from "node:cluster";
import { lookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import * as http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerOptions as SocketOptions } from "ws";
import type { EngineOptions } from "../engine/options.js";
import { prepareEngine } from "../engine/options.js";
import { Redis } from "../engine/redis.js";
import {
  DRAIN_QUIET_PARTS,
  FRAME_BYTES_OVER_MAX,
  VerdictKind,
} from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { ConfigError, Hub } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";
import { randomDigits } from "../session/random.js";
import { ClientSocket } from "./client-socket.js";
import { readDefaultModule } from "./default-module.js";
import { Forwarder } from "./forwarder.js";
import type { HostOptions } from "./host.js";
import { Host } from "./host.js";
import { afterAnswers, responseToUpgrade } from "./http-exchanges.js";
import type { InspectAddress } from "./inspection.js";
import { InspectError, Inspection } from "./inspection.js";
import type { Log } from "./log.js";
import { createLog, limitWarnings } from "./log.js";
import { refusalOf } from "./not-http.js";
import { warnOfOpenFiles } from "./open-files.js";
import { Recorder } from "./recorder.js";
import { IS_NODE } from "./runtime.js";
import { WebSocketServer } from "./ws.js";

export interface SidekickOptions {
  /** Default 3000; 0 chooses any free port. */
  readonly port?: number;
  /** Default: all addresses. A name stands for all addresses that it has. */
  readonly host?: string;
  /** The secrets that an app server may present; several allow rotation without a gap. */
  readonly secrets: readonly string[];
  /** Opens GET /metrics alone, as each of `secrets` does too. */
  readonly metricsSecret?: string;
  /** The app server's URL for client messages. Without it, clients get an error. */
  readonly serverUrl?: string;
  /** The Bearer token that the Sidekick presents to the app server. */
  readonly serverSecret?: string;
  /** Origins whose pages may open a socket, such as `https://*.example.com`. Default: all. */
  readonly allowedOrigins?: readonly string[];
  /**
   * Maximum idle time of a connection to the app server, default 4; less than the app server's own.
   * 0: one connection per message.
   */
  readonly serverIdleSeconds?: number;
  /** Limits by name (docs/protocol.md). The module checks them. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Appends a trace to this file. A trace contains messages and tokens. */
  readonly recordFile?: string;
  /**
   * Serves the inspector there, to whoever knows its random path: it shows messages and tokens.
   * Port 0: any free one.
   */
  readonly inspect?: InspectAddress;
  /** Redis, through which several Sidekicks act as one. Needs the package `@redis/client`. */
  readonly engine?: EngineOptions;
  readonly log?: Log;
  /** Ping interval in seconds, default 30. A socket that is silent for three rounds is dropped. */
  readonly pingSeconds?: number;
  /**
   * An HTTP connection is closed after so long without a request, default 65. Longer than the idle
   * timeout of a proxy in front.
   */
  readonly idleSeconds?: number;
  /** `close` first drains for so long, default 0. */
  readonly drainSeconds?: number;
  /** Default: this package's module, read from its file. A bundle must pass it. */
  readonly module?: WasmModule;
  /** For tests: wraps each hub that the host creates. */
  readonly wrapHub?: (hub: HubLike) => HubLike;
}

export interface Sidekick {
  /** The port it actually listens on. */
  readonly port: number;
  /** The address of the inspector, with its random path. */
  readonly inspectorUrl?: string | undefined;
  /**
   * With `drainSeconds`, refuses new sockets, and closes the open ones at a steady rate. Then stops
   * accepting connections, rejects messages for the app server, lets forwards in flight finish (at
   * most 7 s), and closes sockets with 1001. A second call ends all waits. Both promises resolve
   * when everything has ended.
   */
  close(): Promise<void>;
}

/**
 * @throws ConfigError if secrets, limits, origins, server URL, server secret or engine are invalid;
 *   Error with a `code` if the port is not available
 */
export async function startSidekick(options: SidekickOptions): Promise<Sidekick> {
  if (cluster.isWorker && options.engine === undefined) {
    throw new Error(
      "Sidekick cannot run in a worker of node:cluster without --engine: its connections and " +
        "tokens are in one process, and clients of another worker would get none of its " +
        'messages. Set --engine, or start one process (PM2: exec_mode "fork", instances 1)',
    );
  }
  checkServerSecret(options.serverSecret ?? "");
  const wholeLog = options.log ?? createLog("info");
  const log = limitWarnings(wholeLog);
  const module = options.module ?? readDefaultModule();
  const { secrets, allowedOrigins, serverUrl: url, serverSecret: secret = "" } = options;
  const node = randomDigits();
  const engine = options.engine && (await prepareEngine(options.engine, node));
  const config = {
    ...options.config,
    secrets,
    ...(options.metricsSecret !== undefined && { metrics_secret: options.metricsSecret }),
    ...(allowedOrigins && { allowed_origins: allowedOrigins }),
    ...(engine && { engine_shards: 1, node }),
  };
  const wrap = options.wrapHub ?? ((hub: HubLike) => hub);
  const { recordFile, serverIdleSeconds } = options;
  const idleMs = serverIdleSeconds === undefined ? {} : { idleMs: serverIdleSeconds * 1000 };
  let inspection: Inspection | undefined;
  const server = new Server({
    createHub: () =>
      wrap(Hub.create(module, JSON.stringify({ ...config, hash_seed: randomDigits() }))),
    createForwarder: ({ forward_answer_bytes_max: answerBytesMax }) =>
      url === undefined
        ? undefined
        : new Forwarder({ url, secret, answerBytesMax, log, ...idleMs }),
    createRecorder: (session) => {
      const file = recordFile === undefined ? undefined : new Recorder(recordFile, log);
      if (options.inspect === undefined) return file;
      const inspected = {
        snapshot: () => session.snapshot(),
        alignTimer: () => session.alignTimer(),
      };
      return (inspection = new Inspection(options.inspect, inspected, file, log));
    },
    createEngine: (limits, taker) => {
      if (engine === undefined) return undefined;
      const settings = {
        ...engine,
        timeoutMs: limits.engine_timeout_ms,
        leaseMs: limits.engine_lease_ms,
        messageBytesMax: limits.engine_message_bytes_max,
      };
      return new Redis(settings, taker, wholeLog);
    },
    log,
    pingSeconds: options.pingSeconds ?? 30,
    idleSeconds: options.idleSeconds ?? 65,
    drainSeconds: options.drainSeconds ?? 0,
  });
  await server.listen(options.port ?? 3000, options.host);
  if (inspection !== undefined) {
    try {
      server.inspectorUrl = await inspection.listen();
    } catch (error) {
      await server.close();
      throw new InspectError(options.inspect!, error);
    }
  }
  return server;
}

/**
 * The rule of the module for the secrets that peers present.
 * @throws ConfigError
 */
export function checkServerSecret(secret: string): void {
  if (/^[\x21-\x7e]*$/.test(secret)) return;
  throw new ConfigError(
    "server secret: expected printable ASCII without spaces, which every HTTP library sends alike",
  );
}

/** A name may have several addresses, such as those of IPv4 and IPv6. */
async function addressesOf(host: string): Promise<Iterable<string>> {
  return new Set((await lookup(host, { all: true })).map(({ address }) => address));
}

const TCP_KEEP_ALIVE_MS = 60_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const CLOSE_HANDSHAKE_MS = 5_000;
const CONNECTIONS_BESIDE_CLIENTS_MAX = 4096;
const CONNECTIONS_WAITING_MAX = 4096; // for the rush of reconnecting clients after a restart
/** In total less than the 10 s after which container runtimes kill a process. */
const SHUTDOWN_FORWARDS_MS = 7_000;
const SHUTDOWN_SOCKETS_MS = 1_000;
const SHUTDOWN_ENGINE_MS = 500;
/** Maximum number of fragments per message. Each costs memory, however small it is. */
const FRAGMENTS_MAX = 1024;
const CHUNK_BYTES_SENSIBLE = 256;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_ABNORMAL = 1006;

interface ServerOptions extends HostOptions {
  readonly idleSeconds: number;
  readonly drainSeconds: number;
}

class Server implements Sidekick {
  /** One for each address that it listens on. */
  readonly #listening: http.Server[] = [];
  readonly #sockets: WebSocketServer;
  readonly #host: Host;
  readonly #log: Log;
  readonly #idleMs: number;
  readonly #drainMs: number;
  readonly #connections = new Set<Duplex>(); // including WebSockets
  inspectorUrl: string | undefined;
  #closing: Promise<void> | undefined;
  #hurry = false;

  constructor(options: ServerOptions) {
    this.#log = options.log;
    this.#idleMs = options.idleSeconds * 1000;
    this.#drainMs = options.drainSeconds * 1000;
    this.#host = new Host(options);
    const { frame_bytes_max: frameBytesMax, clients_max: clientsMax } = this.#host.session.limits;
    warnOfOpenFiles(options.log, clientsMax);
    const socketOptions: SocketOptions & {
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
      // One frame per socket and turn of the event loop: a packet can hold ten thousand, which
      // would all be handled before anyone else's.
      allowSynchronousEvents: false,
      // The hub validates UTF-8.
      skipUTF8Validation: true,
      closeTimeout: CLOSE_HANDSHAKE_MS,
    };
    this.#sockets = new WebSocketServer(socketOptions);
  }

  #createHttp(): http.Server {
    const server = http.createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: this.#idleMs,
      connectionsCheckingInterval: 5_000,
      requireHostHeader: false, // asked of all requests, upgrades too
    });
    // A client may close its sending side and still wait for its answers.
    Object.assign(server, { httpAllowHalfOpen: true });
    const { exchanges } = this.#host;
    server.on("connection", (stream) => this.#onConnection(stream));
    server.on("request", (request, response) => exchanges.take(request, response));
    server.on("checkExpectation", (request, response) => exchanges.take(request, response));
    server.on("clientError", (error, stream) => {
      const socket = stream as Socket;
      const refusal = refusalOf(error, this.#log, socket.remoteAddress);
      if (refusal !== undefined && socket.writable) exchanges.refuse(socket, refusal);
      else socket.destroy();
    });
    server.on("checkContinue", (request, response) => exchanges.take(request, response, true));
    server.on("upgrade", (request, stream, rest) => this.#onUpgrade(server, request, stream, rest));
    return server;
  }

  get port(): number {
    return (this.#listening[0]?.address() as AddressInfo | null)?.port ?? 0;
  }

  async listen(port: number, host: string | undefined): Promise<void> {
    try {
      let missing: unknown;
      for (const address of host === undefined ? [undefined] : await addressesOf(host)) {
        // Without a port, all get the one that the system has chosen for the first.
        await this.#listenOn(this.port || port, address).catch((error: NodeJS.ErrnoException) => {
          if (!["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(error.code ?? "")) throw error;
          missing = error;
        });
      }
      if (this.#listening.length === 0) throw missing;
    } catch (error) {
      for (const server of this.#listening) server.close();
      this.#host.destroy();
      await this.#host.recording?.close();
      throw error;
    }
  }

  async #listenOn(port: number, address: string | undefined): Promise<void> {
    const server = this.#createHttp();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      const options = { port, host: address, backlog: CONNECTIONS_WAITING_MAX };
      server.listen(options, () => {
        server.off("error", reject);
        server.on("error", (error) =>
          this.#log.error("the server reports an error", { error: error.message }),
        );
        if (this.#listening.push(server) === 1) this.#host.start();
        resolve();
      });
    });
  }

  close(): Promise<void> {
    if (this.#closing === undefined) this.#closing = this.#shutDown();
    else this.#hurry = true;
    return this.#closing;
  }

  /**
   * Idle connections of strangers must not use up the open files: when there are too many, those
   * without a request are closed.
   */
  #onConnection(stream: Duplex): void {
    if (this.#connections.has(stream)) return; // from readAgain
    this.#connections.add(stream);
    stream.on("error", ignore);
    stream.once("close", () => this.#connections.delete(stream));
    if (this.#connections.size - this.#host.clients.size > CONNECTIONS_BESIDE_CLIENTS_MAX)
      for (const server of this.#listening) server.closeIdleConnections();
  }

  #onUpgrade(server: http.Server, request: IncomingMessage, stream: Duplex, rest: Buffer): void {
    if (stream.listenerCount("error") === 0) stream.on("error", ignore);
    afterAnswers(stream, () => this.#takeUpgrade(server, request, stream, rest));
  }

  #takeUpgrade(server: http.Server, request: IncomingMessage, stream: Duplex, rest: Buffer): void {
    const verdict = this.#host.exchanges.takeUpgrade(request);
    if (verdict === undefined) return;
    if (verdict.kind !== VerdictKind.socket) {
      // An upgrade that is not wanted is ignored (RFC 9110, section 7.8). Bun and Deno read on.
      return IS_NODE
        ? readAgain(server, request, stream, rest)
        : this.#host.exchanges.take(request, responseToUpgrade(request));
    }
    // The hub has decided; `ws` reads the same headers more strictly in part.
    request.headers.upgrade = "websocket";
    request.headers["sec-websocket-protocol"] = verdict.protocol || undefined;
    this.#sockets.handleUpgrade(request, stream, rest, (socket) =>
      this.#host.open(socket as ClientSocket, stream),
    );
  }

  async #shutDown(): Promise<void> {
    if (this.#drainMs > 0) await this.#drain();
    let isClosed = false;
    const closed = Promise.all(
      this.#listening.map(
        (server) => new Promise<void>((resolve) => server.close(() => resolve())),
      ),
    ).then(() => (isClosed = true));
    this.#host.exchanges.end();
    this.#host.session.apply({ type: "shutting_down" });
    const forwards = this.#host.forwarder;
    const areDone = () => (forwards?.open ?? 0) === 0;
    await this.#until(areDone, SHUTDOWN_FORWARDS_MS);
    forwards?.end();
    await this.#until(areDone, SHUTDOWN_SOCKETS_MS);
    for (const socket of this.#host.clients.values())
      socket.end(CLOSE_GOING_AWAY, "the Sidekick is shutting down");
    await this.#until(() => isClosed, SHUTDOWN_SOCKETS_MS);
    for (const socket of [...this.#host.clients.values()]) {
      socket.terminate();
      // now: the event would come later, and the recording must include every close
      this.#host.onClosed(socket, CLOSE_ABNORMAL);
    }
    // The hub releases the tokens of these clients in the engine.
    await this.#until(() => this.#host.engine?.isIdle ?? true, SHUTDOWN_ENGINE_MS);
    forwards?.destroy();
    for (const server of this.#listening) server.closeAllConnections();
    await closed;
    this.#host.destroy();
    await this.#host.recording?.close();
  }

  /** Until no socket is left, and load balancers have noticed. */
  async #drain(): Promise<void> {
    const { clients, session } = this.#host;
    this.#log.info("draining", { seconds: this.#drainMs / 1000, clients: clients.size });
    session.apply({ type: "draining", ms: this.#drainMs });
    await this.#until(() => false, this.#drainMs / DRAIN_QUIET_PARTS);
    await this.#until(() => clients.size === 0, this.#drainMs - this.#drainMs / DRAIN_QUIET_PARTS);
  }

  async #until(over: () => boolean, waitMs: number): Promise<void> {
    const end = performance.now() + waitMs;
    while (!over() && !this.#hurry && performance.now() < end) await sleep(10);
  }
}

/** Node has stopped reading at the headers: it starts again, without the upgrade. */
function readAgain(
  server: http.Server,
  { method, url, httpVersion, rawHeaders }: IncomingMessage,
  stream: Duplex,
  rest: Buffer,
): void {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() !== "upgrade")
      head += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  }
  stream.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), rest]));
  server.emit("connection", stream);
}

function ignore(): void {}
