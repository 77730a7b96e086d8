// A client of the load run, on a real socket. Keeps everything it sends and receives, to compare
// with the recording.
import { WebSocket } from "ws";

export class Visitor {
  readonly name: string;
  /** As bytes: the sent messages and the received texts. */
  readonly said: Buffer[] = [];
  readonly heard: string[] = [];
  /** False once its socket was dropped: messages in flight may then be lost. */
  isThere = true;
  readonly #socket: WebSocket;
  #pongs = 0;
  #pongWanted: { readonly count: number; readonly come: () => void } | undefined;

  /** First listens to its own name, so that the recording shows which client it is. */
  static async connect(port: number, name: string): Promise<Visitor> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { perMessageDeflate: false });
    const visitor = new Visitor(socket, name);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    visitor.say({ type: "listen", resources: [`name/${name}`] });
    return visitor;
  }

  private constructor(socket: WebSocket, name: string) {
    this.#socket = socket;
    this.name = name;
    socket.on("error", () => {});
    socket.on("close", () => (this.isThere = false));
    socket.on("message", (data) => {
      const text = (data as Buffer).toString();
      this.heard.push(text);
      if (text === '{"type":"pong"}' && ++this.#pongs === this.#pongWanted?.count)
        this.#pongWanted.come();
    });
  }

  say(message: object | string | Buffer): void {
    const bytes = Buffer.isBuffer(message)
      ? message
      : Buffer.from(typeof message === "string" ? message : JSON.stringify(message));
    this.said.push(bytes);
    this.#socket.send(Buffer.isBuffer(message) ? message : bytes.toString());
  }

  /**
   * Resolves when the hub has handled everything sent so far. With spaces: the Worker's runtime
   * answers the exact ping by itself.
   */
  async settled(): Promise<void> {
    const count = this.#pongs + 1;
    const come = new Promise<void>((resolve, reject) => {
      this.#pongWanted = { count, come: resolve };
      this.#socket.once("close", (code, reason) =>
        reject(new Error(`${this.name} was closed: ${code} ${reason.toString()}`)),
      );
    });
    this.say('{ "type": "ping" }');
    await come;
  }

  /** Stops reading. */
  stopReading(): void {
    this.#socket.pause();
    this.isThere = false;
  }

  /** Closes without a close frame, like a phone that loses its network. */
  drop(): void {
    this.isThere = false;
    this.#socket.terminate();
  }

  async leave(): Promise<void> {
    this.isThere = false;
    const gone = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.close(1000);
    await gone;
  }
}
