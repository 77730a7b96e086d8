// The floor in Node: the same bytes through node:http and bare sockets, one socket.write() per
// subscriber, with no WebSocket library, no validation, no state and no protocol. A real server
// pays for these on top. floor.ts PORT APP_SERVER_URL
import { Agent, createServer, request } from "node:http";
import type { Socket } from "node:net";

const [port, appServer] = process.argv.slice(2) as [string, string];
const subscribers = new Set<Socket>();
const listeners = new Map<string, Socket>();
const agent = new Agent({ keepAlive: true });

function frameOf(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126 ? [0x81, body.length] : [0x81, 126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), body]);
}

const message = frameOf(`{ "type": "message", "data": "#${"x".repeat(200 - 34)}" }`);
const sequenceAt = message.indexOf("#");

const server = createServer((req, res) => {
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => {
    const body = Buffer.concat(chunks);
    if (req.url === "/message") {
      const frame = Buffer.from(message);
      const at = body.indexOf("#");
      body.copy(frame, sequenceAt, at, at + 9);
      for (const socket of subscribers) socket.write(frame);
    } else if (req.url === "/resources") {
      for (const resource of (JSON.parse(body.toString()) as { resources: string[] }).resources)
        listeners.get(resource)?.write(frameOf(`{ "type": "updated", "resource": "${resource}" }`));
    }
    res.end("OK");
  });
});

server.on("upgrade", (_req, stream) => {
  const socket = stream as Socket;
  socket.setNoDelay(true);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  );
  socket.on("error", () => socket.destroy());
  const own: string[] = [];
  socket.on("close", () => {
    subscribers.delete(socket);
    for (const resource of own) listeners.delete(resource);
  });
  socket.on("data", (bytes: Buffer) => {
    if ((bytes[0]! & 15) === 8) return void socket.end(Buffer.from([0x88, 0]));
    const start = (bytes[1]! & 127) === 126 ? 8 : 6;
    for (let i = start; i < bytes.length; i++) bytes[i]! ^= bytes[start - 4 + ((i - start) & 3)]!;
    const text = bytes.toString("utf8", start);
    if (text.startsWith('{"type":"subscribe"')) {
      subscribers.add(socket);
      socket.write(frameOf('{ "type": "subscribed" }'));
    } else if (text.startsWith('{"type":"listen"')) {
      own.push(...(JSON.parse(text) as { resources: string[] }).resources);
      for (const resource of own) listeners.set(resource, socket);
      socket.write(frameOf('{ "type": "listening" }'));
    } else {
      const forward = request(
        appServer,
        { method: "POST", agent, headers: { "content-length": Buffer.byteLength(text) } },
        (res) => res.resume(),
      );
      forward.on("error", () => {});
      forward.end(text);
    }
  });
});

server.listen(Number(port), "127.0.0.1");
