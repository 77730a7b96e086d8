// A WebSocket that costs little more than its TCP connection, so that thousands of clients in one
// process do not wait for each other. It trusts the server: frames are whole, short and unmasked.
import * as net from "node:net";

const UPGRADE =
  "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ABNORMAL = 1006;
const [TEXT, CLOSE, PING, PONG] = [1, 8, 9, 10];

export class LeanSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: unknown = null;
  /** Called once, however it ends. */
  onend = () => {};
  readonly #tcp: net.Socket;
  #isOpen = false;
  #isClosed = false;
  #in: Buffer = Buffer.alloc(0);

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#tcp = net.connect({ port: Number(port), host: hostname, noDelay: true });
    this.#tcp.write(UPGRADE);
    this.#tcp.on("data", (bytes) => this.#receive(bytes));
    this.#tcp.on("error", () => {});
    this.#tcp.on("close", () => {
      this.onend();
      this.#close(ABNORMAL, "");
    });
  }

  send(text: string): void {
    this.#write(TEXT, Buffer.from(text));
  }

  close(): void {
    if (this.#isOpen) this.#write(CLOSE, Buffer.from([0x03, 0xe8])); // 1000
    this.#tcp.end();
  }

  /** The connection breaks. */
  break(): void {
    this.#tcp.destroy();
  }

  #receive(bytes: Buffer): void {
    let rest = this.#in.length === 0 ? bytes : Buffer.concat([this.#in, bytes]);
    if (!this.#isOpen) {
      const head = rest.indexOf("\r\n\r\n");
      if (head >= 0 && !rest.subarray(0, head).includes(" 101 ")) return this.break();
      if (head >= 0) {
        rest = rest.subarray(head + 4);
        this.#isOpen = true;
        this.onopen?.();
      }
    }
    while (this.#isOpen && rest.length >= 4) {
      const isLong = rest[1] === 126;
      const begin = isLong ? 4 : 2;
      const end = begin + (isLong ? rest.readUInt16BE(2) : rest[1]!);
      if (rest.length < end) break;
      this.#onFrame(rest[0]! & 15, rest.subarray(begin, end));
      rest = rest.subarray(end);
    }
    this.#in = rest;
  }

  #onFrame(opcode: number, payload: Buffer): void {
    if (opcode === TEXT) this.onmessage?.({ data: payload.toString() });
    else if (opcode === PING) this.#write(PONG, payload);
    else if (opcode === CLOSE) {
      this.#close(payload.readUInt16BE(0), payload.toString("utf8", 2));
      this.close();
    }
  }

  #close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onclose?.({ code, reason });
  }

  #write(opcode: number, payload: Buffer): void {
    if (this.#tcp.destroyed || this.#tcp.writableEnded) return;
    const size =
      payload.length < 126
        ? [0x80 | payload.length]
        : [0x80 | 126, payload.length >> 8, payload.length & 255];
    // A mask of zeros changes nothing.
    this.#tcp.write(Buffer.concat([Buffer.from([0x80 | opcode, ...size, 0, 0, 0, 0]), payload]));
  }
}
