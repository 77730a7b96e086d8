// Answers of an app server, byte for byte, and what the sender of the message must be told. Every
// host is tested with them.
//
// The rule: once a final status line has come, the app server has dealt with the message. The
// result is that status, and the app's own { fault, message } if it is whole, whatever else is
// wrong with the answer or the connection.
import * as net from "node:net";
import { listen } from "./left-open.ts";

export interface RawAnswer {
  readonly name: string;
  /** In Latin-1. */
  readonly bytes: string;
  /** The app server closes the connection behind it. */
  readonly ends?: boolean;
  readonly told: Told;
  /** The same with Cloudflare's runtime, whose own parser decides. */
  readonly toldByWorker?: Told;
}

/** `nothing`: the message was accepted. `own error`: the app's { fault, message }. */
export type Told = "nothing" | "own error" | "status 400" | "broken off" | "unreachable";

const TEXTS: readonly [Told, RegExp][] = [
  ["nothing", /^$/],
  ["own error", /"fault": "client", "message": "nope"/],
  ["status 400", /"fault": "server".*answered 400/],
  ["broken off", /"fault": "server".*closed the connection without an answer/],
  ["unreachable", /"fault": "server".*could not be reached; the message was not processed/],
];

/** The outcome that these messages report to the sender. */
export function toldOf(messages: string): Told | undefined {
  return TEXTS.find(([, text]) => text.test(messages))?.[0];
}

const ERROR = '{ "fault": "client", "message": "nope" }';
const LENGTH = `Content-Length: ${ERROR.length}`;
const CHUNK = `${ERROR.length.toString(16)}\r\n${ERROR}\r\n`;
const TRAILERS = "a: b\r\n".repeat(20_000);
const CHUNKED = "Transfer-Encoding: chunked";

/** Answers 204 and 400 with this in the head. */
function inHead(name: string, lines: string, toldByWorker?: Told): RawAnswer[] {
  return [
    { name: `204, ${name}`, bytes: `HTTP/1.1 204 No Content\r\n${lines}\r\n\r\n`, told: "nothing" },
    {
      name: `400, ${name}`,
      bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n${lines}\r\n\r\n${ERROR}`,
      told: "own error",
    },
  ].map((answer) => ({ ...answer, ...(toldByWorker && { toldByWorker }) })) as RawAnswer[];
}

/** Locations of redirects that lead nowhere: no references of RFC 3986, or not to HTTP. */
export const NOWHERE = [
  ...["ftp://x/", "http://", "http:", "http:/x", "http:x", "//", "///x", "a:b", "1:b"],
  ...[
    "/a b",
    "\\\\x\\",
    "/\xfc",
    "/%zz",
    "/%",
    "/a[b]",
    "/a<b>",
    "/#a#b",
    "http://x:0/",
    "http://x:99999/",
  ],
];

export const RAW_ANSWERS: readonly RawAnswer[] = [
  // The end of the answer
  {
    name: "204 with a length and a body",
    bytes: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    told: "nothing",
  },
  {
    name: "204 with an encoding and a last chunk",
    bytes: `HTTP/1.1 204 No Content\r\n${CHUNKED}\r\n\r\n0\r\n\r\n`,
    told: "nothing",
  },
  {
    name: "200 with bytes behind it",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhello",
    told: "nothing",
  },
  {
    name: "400 with bytes behind it",
    bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n\r\n${ERROR}hello`,
    told: "own error",
  },
  {
    name: "400 with a whole answer behind it",
    bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n\r\n${ERROR}HTTP/1.1 204 No Content\r\n\r\n`,
    told: "own error",
  },
  // The status line
  { name: "204 without phrase or blank", bytes: "HTTP/1.1 204\r\n\r\n", told: "nothing" },
  { name: "204 without phrase", bytes: "HTTP/1.1 204 \r\n\r\n", told: "nothing" },
  {
    name: "400 without phrase or blank",
    bytes: `HTTP/1.1 400\r\n${LENGTH}\r\n\r\n${ERROR}`,
    told: "own error",
  },
  { name: "204 with a phrase in Latin-1", bytes: "HTTP/1.1 204 \xfc\r\n\r\n", told: "nothing" },
  { name: "204 with bare line feeds", bytes: "HTTP/1.1 204 No Content\n\n", told: "nothing" },
  { name: "204 of HTTP/1.0", bytes: "HTTP/1.0 204 No Content\r\n\r\n", told: "nothing" },
  {
    name: "204 behind an empty line",
    bytes: "\r\nHTTP/1.1 204 No Content\r\n\r\n",
    told: "nothing",
  },
  {
    name: "204 behind two 1xx responses",
    bytes:
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" +
      "HTTP/1.1 204 No Content\r\n\r\n",
    told: "nothing",
  },
  {
    name: "too many 1xx responses",
    bytes: `${"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)}HTTP/1.1 204 No Content\r\n\r\n`,
    told: "broken off",
    toldByWorker: "nothing",
  },
  { name: "no HTTP", bytes: "SSH-2.0-OpenSSH_9.2\r\n", ends: true, told: "broken off" },
  { name: "half a status line", bytes: "HTTP/1.1 20", ends: true, told: "broken off" },
  // Headers
  ...inHead("a value in Latin-1", "X-A: \xfc"),
  ...inHead("a folded line", "X-A: b\r\n c: d", "broken off"),
  ...inHead("a blank in front of the colon", "X-A : b", "broken off"),
  ...inHead("a blank in a name", "X A: b", "broken off"),
  ...inHead("an empty name", ": b", "broken off"),
  ...inHead("a line without a colon", "what is this", "broken off"),
  ...inHead("a control character in a value", "X-A: \x01"),
  ...inHead("20,000 bytes in one header", `X-A: ${"x".repeat(20_000)}`),
  ...inHead("a length in plus", "Content-Length: +2").slice(0, 1),
  {
    name: "204 with 100,000 bytes in one header",
    bytes: `HTTP/1.1 204 No Content\r\nX-A: ${"x".repeat(100_000)}\r\n\r\n`,
    told: "nothing",
  },
  {
    name: "400 with 100,000 bytes in one header",
    bytes: `HTTP/1.1 400 Bad Request\r\nX-A: ${"x".repeat(100_000)}\r\n${LENGTH}\r\n\r\n${ERROR}`,
    told: "status 400",
    toldByWorker: "own error",
  },
  {
    name: "204 whose head breaks off",
    bytes: "HTTP/1.1 204 No Content\r\nX-A",
    ends: true,
    told: "nothing",
    toldByWorker: "broken off",
  },
  // The framing of the body
  {
    name: "200 with its length twice",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nOK",
    told: "nothing",
  },
  {
    name: "400 with its length twice",
    bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n${LENGTH}\r\n\r\n${ERROR}`,
    told: "own error",
  },
  {
    name: "200 with two lengths",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nOK",
    told: "nothing",
    toldByWorker: "broken off",
  },
  {
    name: "400 with two lengths",
    bytes: `HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n${LENGTH}\r\n\r\n${ERROR}`,
    told: "status 400",
    toldByWorker: "broken off",
  },
  {
    name: "200 with a length and chunked",
    bytes: `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${CHUNKED}\r\n\r\n2\r\nOK\r\n0\r\n\r\n`,
    told: "nothing",
  },
  {
    name: "400 with a length and chunked",
    bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n${CHUNKED}\r\n\r\n${CHUNK}0\r\n\r\n`,
    told: "own error",
  },
  {
    name: "400 with a chunk and no last one",
    bytes: `HTTP/1.1 400 Bad Request\r\n${CHUNKED}\r\n\r\n${CHUNK}`,
    ends: true,
    told: "own error",
  },
  {
    name: "400 with a chunk and garbage",
    bytes: `HTTP/1.1 400 Bad Request\r\n${CHUNKED}\r\n\r\n${CHUNK}garbage\r\n`,
    told: "own error",
  },
  {
    name: "400 with an overlong chunk extension",
    bytes: `HTTP/1.1 400 Bad Request\r\n${CHUNKED}\r\n\r\n${CHUNK}1;${"x".repeat(100_000)}\r\n`,
    told: "own error",
  },
  {
    name: "200 with an overlong chunk extension",
    bytes: `HTTP/1.1 200 OK\r\n${CHUNKED}\r\n\r\n1;${"x".repeat(100_000)}\r\n`,
    told: "nothing",
  },
  {
    name: "400 with overlong trailers",
    bytes: `HTTP/1.1 400 Bad Request\r\n${CHUNKED}\r\n\r\n${CHUNK}0\r\n${TRAILERS}`,
    told: "own error",
  },
  {
    name: "400 that is shorter than its length",
    bytes: `HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n${ERROR}`,
    ends: true,
    told: "own error",
  },
  {
    name: "400 without a length",
    bytes: `HTTP/1.1 400 Bad Request\r\n\r\n${ERROR}`,
    ends: true,
    told: "own error",
  },
  {
    name: "400 whose body breaks off",
    bytes: `HTTP/1.1 400 Bad Request\r\n${LENGTH}\r\n\r\n{ "fault": `,
    ends: true,
    told: "status 400",
  },
];

export interface RawServer {
  readonly url: string;
  /** Number of messages that it has taken. */
  readonly taken: number;
  readonly openConnections: number;
  answer: (socket: net.Socket, body: string) => void;
}

/** An app server that calls `answer` with each message. */
export async function startRawServer(answer: RawServer["answer"]): Promise<RawServer> {
  const server = { url: "", taken: 0, openConnections: 0, answer };
  const port = await listen(
    net.createServer({ noDelay: true }, (socket) => {
      server.openConnections++;
      socket.on("close", () => server.openConnections--);
      let received = "";
      socket.on("data", (bytes) => {
        received += bytes.toString("latin1");
        for (;;) {
          const head = received.indexOf("\r\n\r\n") + 4;
          const end = head + Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0);
          if (head < 4 || received.length < end) return;
          const body = received.slice(head, end);
          received = received.slice(end);
          server.taken++;
          server.answer(socket, body);
        }
      });
    }),
  );
  server.url = `http://127.0.0.1:${port}/`;
  return server;
}

export function writeRaw(socket: net.Socket, { bytes, ends }: RawAnswer): void {
  socket.write(bytes, "latin1");
  if (ends === true) socket.end();
}
