// A Sidekick on a free port for tests, and its peers: HTTP requests, WebSocket clients, raw bytes.
// It is the Node host in this process, or the one that SIDEKICK_COMMAND starts
// (support/command.ts), so that one suite serves all hosts.
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import { WebSocket } from "ws";
import type { HubLike } from "../../../../worker/src/module/hub.ts";
import { compileModuleSync } from "../../../../worker/src/module/hub.ts";
import { readDefaultModule } from "../../../../worker/src/node/default-module.ts";
import { createLog } from "../../../../worker/src/node/log.ts";
import type { Sidekick, SidekickOptions } from "../../../../worker/src/node/server.ts";
import { startSidekick } from "../../../../worker/src/node/server.ts";
import { command, startCommand } from "./command.ts";
import { atEnd } from "./left-open.ts";
import { trapping } from "./watched-hub.ts";

export const SECRET = "test-secret";

/** The module under test: SIDEKICK_MODULE, or the package's module. */
export const module = process.env["SIDEKICK_MODULE"]
  ? compileModuleSync(readFileSync(process.env["SIDEKICK_MODULE"]))
  : readDefaultModule();

export interface TestOptions extends Partial<SidekickOptions> {
  /**
   * Makes the hub trap on any input that contains the word `trap!`; with `restore`, also on the
   * first restored token.
   */
  readonly traps?: { readonly restore: boolean };
}

export interface TestSidekick extends Sidekick {
  readonly logLines: readonly string[];
  /** After `close`: resolves when no new connection is accepted. */
  stopping(): Promise<void>;
  /** The Sidekick finds everything that `act` writes at once: it is paused meanwhile. */
  atOnce(act: () => void): void;
}

/** On 127.0.0.1. Log lines go to `logLines`. */
export async function startTestSidekick(options: TestOptions = {}): Promise<TestSidekick> {
  const config = { auth_failure_delay_ms: 0, ...options.config };
  const sidekick =
    command === undefined
      ? await startHere({ ...options, config })
      : await startCommand({ secrets: [SECRET], ...options, config });
  atEnd(() => Promise.all([sidekick.close(), sidekick.close()]));
  return sidekick;
}

async function startHere({ traps, ...options }: TestOptions): Promise<TestSidekick> {
  const logLines: string[] = [];
  const log = createLog("debug", (line) => logLines.push(line));
  const wrapped =
    traps === undefined ? {} : { wrapHub: (hub: HubLike) => trapping(hub, traps.restore) };
  const sidekick = await startSidekick({
    port: 0,
    host: "127.0.0.1",
    secrets: [SECRET],
    module,
    log,
    ...wrapped,
    ...options,
  });
  return {
    port: sidekick.port,
    inspectorUrl: sidekick.inspectorUrl,
    close: () => sidekick.close(),
    logLines,
    stopping: () => Promise.resolve(),
    atOnce: (act) => act(),
  };
}

/** The complete lines of a recording so far. */
export function recordedLines(file: string): any[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface RequestOptions {
  readonly method?: string;
  readonly secret?: string | null;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly agent?: http.Agent;
}

export function request(
  port: number,
  path: string,
  body?: string | Buffer,
  options: RequestOptions = {},
): Promise<HttpAnswer> {
  const secret = options.secret === undefined ? SECRET : options.secret;
  const headers = {
    ...(secret !== null && { Authorization: `Bearer ${secret}` }),
    ...options.headers,
  };
  const method = options.method ?? "POST";
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      { host: "127.0.0.1", port, path, method, headers, agent: options.agent },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
        response.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export async function registerToken(
  port: number,
  token: string,
  channel = "chat",
  params: Record<string, string> = {},
  context: unknown = null,
): Promise<void> {
  const answer = await request(
    port,
    "/connection",
    JSON.stringify({ token, channel, params, context }),
  );
  if (answer.status !== 200) throw new Error(`POST /connection: ${answer.status} ${answer.body}`);
}

/** A client that queues received messages. */
export class TestClient {
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  #received: string[] = [];
  #waiting: ((message: string) => void)[] = [];

  static async connect(port: number, headers: Record<string, string> = {}): Promise<TestClient> {
    const client = new TestClient(
      new WebSocket(`ws://127.0.0.1:${port}/socket`, { perMessageDeflate: false, headers }),
    );
    await new Promise((resolve, reject) =>
      client.socket.once("open", resolve).once("error", reject),
    );
    return client;
  }

  private constructor(socket: WebSocket) {
    this.socket = socket;
    atEnd(() => socket.terminate());
    this.closed = new Promise((resolve) =>
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })),
    );
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const message = (data as Buffer).toString();
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#received.push(message);
      else waiting(message);
    });
  }

  send(message: object | string | Buffer): void {
    this.socket.send(
      typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message),
    );
  }

  /** The next message as text. */
  nextText(): Promise<string> {
    const message = this.#received.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      void this.closed.then(({ code, reason }) =>
        reject(new Error(`the socket was closed (${code} ${reason}) while a message was awaited`)),
      );
    });
  }

  async next(): Promise<any> {
    return JSON.parse(await this.nextText());
  }

  /** Resolves when the Sidekick has handled everything sent so far and no message has arrived. */
  async settled(): Promise<void> {
    this.send('{"type":"ping"}');
    const message = await this.next();
    if (message.type !== "pong")
      throw new Error(`expected nothing, got ${JSON.stringify(message)}`);
  }

  async subscribe(token: string): Promise<void> {
    this.send({ type: "subscribe", token });
    const message = await this.next();
    if (message.type !== "subscribed")
      throw new Error(`expected subscribed, got ${JSON.stringify(message)}`);
  }

  close(): Promise<{ code: number; reason: string }> {
    this.socket.close();
    return this.closed;
  }
}

/** A bare TCP connection, for bytes that no well-behaved client sends. */
export class RawConnection {
  readonly socket: net.Socket;
  readonly ended: Promise<void>;
  #received: Buffer[] = [];
  #waiting: (() => void) | undefined;

  static async connect(
    port: number,
    options: { allowHalfOpen?: boolean } = {},
  ): Promise<RawConnection> {
    const socket = net.connect({ port, host: "127.0.0.1", ...options });
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RawConnection(socket);
  }

  /** Connected, with the WebSocket handshake done. */
  static async upgrade(port: number): Promise<RawConnection> {
    const raw = await RawConnection.connect(port);
    raw.write(
      "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    const head = await raw.until("\r\n\r\n");
    if (!head.startsWith("HTTP/1.1 101")) throw new Error(`no upgrade: ${head}`);
    raw.#received = [];
    return raw;
  }

  private constructor(socket: net.Socket) {
    this.socket = socket;
    atEnd(() => socket.destroy());
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#waiting?.();
    });
    this.ended = new Promise((resolve) => socket.on("close", () => resolve()));
    void this.ended.then(() => this.#waiting?.());
  }

  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  write(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** Resolves with everything received as soon as it contains `text`. */
  async until(text: string): Promise<string> {
    while (!this.received.includes(text)) {
      if (this.socket.closed)
        throw new Error(
          `the connection ended before ${JSON.stringify(text)} came: ` +
            `${JSON.stringify(this.received.toString())}`,
        );
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
    return this.received.toString();
  }
}

/** A client's WebSocket frame, masked with zeros. */
export function clientFrame(
  opcode: number,
  payload: Buffer,
  { fin = true, rsv = 0, masked = true } = {},
): Buffer {
  const size = payload.byteLength;
  const length =
    size < 126
      ? Buffer.from([size])
      : size < 65536
        ? Buffer.from([126, size >> 8, size & 255])
        : Buffer.alloc(9);
  if (size >= 65536) {
    length[0] = 127;
    length.writeBigUInt64BE(BigInt(size), 1);
  }
  length[0]! |= masked ? 0x80 : 0;
  return Buffer.concat([
    Buffer.from([(fin ? 0x80 : 0) | rsv | opcode]),
    length,
    masked ? Buffer.alloc(4) : Buffer.alloc(0),
    payload,
  ]);
}

const WAIT_MS_MAX = 120_000; // only ends a test that has failed

/**
 * Waits for another party's action. No timing is asserted.
 * @param what it waits for, said if it waits in vain. Default: the condition's source
 */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: () => string = () => String(condition),
): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_MS_MAX} ms: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
