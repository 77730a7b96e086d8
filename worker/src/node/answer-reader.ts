// Reads one HTTP/1 answer of the app server from the bytes of a connection. Owns the rules of which
// bytes are an answer; does not know the connection. worker/native/http/answer_reader.cpp has the
// same rules.
//
// Not the parser of `node:http`: it reports an unreadable header or body as the failure of the
// whole answer. But an app server whose status line has come has dealt with the message. From there
// on the status stands, whatever follows; an unreadable rest only costs the connection.

/** Maximum size of a head with the 1xx responses before it, of a chunk's line, of trailers. */
const LINES_BYTES_MAX = 64 * 1024;
/** Maximum number of 1xx responses before the final one. */
const INTERIM_ANSWERS_MAX = 16;
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;
const CR = 13;
const LF = 10;

type State =
  | "status line"
  | "interim head"
  | "head"
  | "body of known length"
  | "body until the end"
  | "size of a chunk"
  | "chunk"
  | "end of a chunk"
  | "trailers"
  | "over";

export class AnswerReader {
  /** Of the final status line; 0 until it is complete. */
  status = 0;
  /** Nothing that follows can change the answer. */
  isOver = false;
  /** The body exceeds the limit: the rest of it is missing. */
  isCut = false;
  /** Why the answer, or the rest of it, is unreadable. */
  error = "";
  location: string | undefined;
  /** For how long the app server keeps the idle connection, if it says so. */
  keepAliveMs: number | undefined;
  readonly #bodyBytesMax: number;
  #state: State = "status line";
  #line = "";
  #linesBytes = 0;
  #interimAnswers = 0;
  #isHttp10 = false;
  #connection = "";
  #lengths: string[] = [];
  #encodings: string[] = [];
  /** Bytes missing of the body or the chunk. */
  #left = 0;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  /** Two readers could disagree on where the answer ends. */
  #isDoubtful = false;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** A 2xx status means the app server has accepted the message; the rest is irrelevant. */
  get isTaken(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** What has come of the body, up to the limit. Empty with a 2xx status. */
  get body(): Buffer {
    return this.#body.length === 1 ? this.#body[0]! : Buffer.concat(this.#body);
  }

  /** Nothing has come yet. */
  get isUntouched(): boolean {
    return this.#linesBytes === 0 && this.#state === "status line";
  }

  /** The connection can carry another request: the end of the answer is beyond doubt. */
  get isClean(): boolean {
    const isPersistent = this.#isHttp10
      ? this.#connection.includes("keep-alive")
      : !this.#connection.includes("close");
    return this.isOver && isPersistent && !this.#isDoubtful && this.error === "";
  }

  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && !this.isOver) at = this.#read(bytes, at);
    if (at < bytes.length) this.#isDoubtful = true; // the answer has ended, and something follows
  }

  /** The app server has closed the connection. */
  end(): void {
    if (this.isOver) return;
    if (this.#state === "body until the end") return this.#end();
    this.#fail(
      this.isUntouched
        ? "the connection was closed before an answer came"
        : "the connection was closed in the middle of the answer",
    );
  }

  /** Reads from `at` on, and returns where it stopped. */
  #read(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case "body until the end":
        this.#keep(bytes.subarray(at));
        return bytes.length;
      case "body of known length":
      case "chunk": {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        this.#keep(bytes.subarray(at, end));
        if (this.#left > 0 || this.isOver) return end;
        if (this.#state === "chunk") this.#state = "end of a chunk";
        else this.#end();
        return end;
      }
      default:
        return this.#readLine(bytes, at);
    }
  }

  #readLine(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at);
    const end = found < 0 ? bytes.length : found;
    this.#linesBytes += end - at + 1;
    if (this.#linesBytes > LINES_BYTES_MAX) {
      this.#fail("a header, chunk or trailer of the answer has no end");
      return bytes.length;
    }
    this.#line += bytes.toString("latin1", at, end);
    if (found < 0) return end;
    const line =
      this.#line.charCodeAt(this.#line.length - 1) === CR ? this.#line.slice(0, -1) : this.#line;
    this.#line = "";
    this.#onLine(line);
    return end + 1;
  }

  #onLine(line: string): void {
    switch (this.#state) {
      case "status line":
        return this.#onStatusLine(line);
      case "interim head":
        if (line === "") this.#state = "status line";
        return;
      case "head":
        if (line === "") return this.#onHead();
        return this.#onHeader(line);
      case "size of a chunk": {
        const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
        if (size === undefined) return this.#fail("a chunk of the answer has no size");
        this.#left = Number.parseInt(size, 16);
        this.#linesBytes = 0;
        this.#state = this.#left === 0 ? "trailers" : "chunk";
        return;
      }
      case "end of a chunk":
        if (line !== "") return this.#fail("a chunk of the answer is longer than its size");
        this.#state = "size of a chunk";
        return;
      case "trailers":
        if (line === "") this.#end();
        return;
    }
  }

  #onStatusLine(line: string): void {
    if (line === "") return; // left over by an interim answer, or by an app server that adds lines
    const match = /^HTTP\/1\.(\d) ([1-9]\d\d)(?: |$)/.exec(line);
    if (match === null) return this.#fail("the answer is not HTTP/1");
    const status = Number(match[2]);
    if (status < 200 && status !== 101) {
      if (++this.#interimAnswers > INTERIM_ANSWERS_MAX) return this.#fail("too many 1xx responses");
      this.#state = "interim head";
      return;
    }
    this.#isHttp10 = match[1] === "0";
    this.status = status;
    this.#state = "head";
  }

  #onHeader(line: string): void {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1).trim();
    // A folded line, or one that another reader might read as a header that we do not see.
    if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name) || CONTROL.test(value)) {
      this.#isDoubtful = true;
      return;
    }
    switch (name) {
      case "content-length":
        this.#lengths.push(...value.split(",").map((length) => length.trim()));
        return;
      case "transfer-encoding":
        this.#encodings.push(value.toLowerCase());
        return;
      case "connection":
        this.#connection += `${value.toLowerCase()} `;
        return;
      case "keep-alive": {
        const seconds = /(?:^|[ ,;])timeout=(\d{1,9})/i.exec(value)?.[1];
        if (seconds !== undefined) this.keepAliveMs = Number(seconds) * 1000;
        return;
      }
      case "location":
        this.location ??= value;
        return;
    }
  }

  /** RFC 9112 section 6.3. */
  #onHead(): void {
    const [length = "", ...lengths] = this.#lengths;
    const isLength = /^\d{1,15}$/.test(length) && lengths.every((other) => other === length);
    const isEncoded = this.#encodings.length > 0;
    this.#linesBytes = 0;
    if (this.status === 204 || this.status === 304 || this.status === 101) {
      // Some app servers send a body nevertheless, and others take its bytes for the next answer.
      if (
        this.status === 101 ||
        isEncoded ||
        (this.#lengths.length > 0 && !(isLength && Number(length) === 0))
      )
        this.#isDoubtful = true;
      return this.#end();
    }
    if (lengths.length > 0 || (isEncoded && (this.#lengths.length > 0 || this.#isHttp10)))
      this.#isDoubtful = true;
    if (isEncoded) {
      const isChunked = /(?:^|,)[ \t]*chunked$/.test(this.#encodings.at(-1)!);
      this.#state = isChunked ? "size of a chunk" : "body until the end";
      if (!isChunked) this.#isDoubtful = true;
    } else if (this.#lengths.length === 0) {
      this.#state = "body until the end";
      this.#isDoubtful = true;
    } else if (!isLength) {
      this.#fail("the answer has no valid length");
    } else {
      this.#left = Number(length);
      this.#state = "body of known length";
      if (this.#left === 0) this.#end();
    }
  }

  #keep(bytes: Buffer): void {
    if (this.isTaken) return;
    const kept = bytes.subarray(0, this.#bodyBytesMax - this.#bodyBytes);
    this.#bodyBytes += kept.length;
    this.#body.push(kept);
    if (kept.length === bytes.length) return;
    this.isCut = true;
    this.#isDoubtful = true;
    this.#end();
  }

  #fail(reason: string): void {
    this.error = reason;
    this.#end();
  }

  #end(): void {
    this.#state = "over";
    this.isOver = true;
  }
}
