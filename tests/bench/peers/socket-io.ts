// Socket.IO as an app would use it to publish over HTTP: a client joins the rooms it names, and
// POST /publish emits to a room. Of its transports only WebSocket. socket-io.ts PORT SECRET
import { createServer } from "node:http";
import { Server } from "socket.io";

const [port, secret] = process.argv.slice(2) as [string, string];

const http = createServer((request, response) => {
  if (request.url !== "/publish" || request.headers.authorization !== `Bearer ${secret}`)
    return void response.writeHead(401).end();
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    io.to(body.channel).emit("message", body.data);
    response.end("{}");
  });
});

const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
io.on("connection", (socket) => {
  socket.on("join", async (room: string, joined: () => void) => {
    await socket.join(room);
    joined();
  });
});
http.listen(Number(port), "127.0.0.1");
