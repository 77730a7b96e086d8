// A Sidekick host: sockets, HTTP, forwards and a timer. The module makes every decision.
import { createServer, type ServerResponse } from "node:http";
import { type Action, type Hub, type Input, text } from "covenant-sidekick/module";
import { type WebSocket, WebSocketServer } from "ws";

export function startHost(hub: Hub, port: number, serverUrl: string, serverSecret: string) {
  const sockets = new Map<number, WebSocket>();
  const responses = new Map<number, ServerResponse>();
  let lastId = 0;
  let timer: NodeJS.Timeout;

  const apply = (input: Input) => hub.handle(Date.now(), input).forEach(perform);

  function perform(action: Action): void {
    if (action.type === "send") {
      for (const client of action.clients) sockets.get(client)?.send(text(action.text));
    } else if (action.type === "close") {
      sockets.get(action.client)?.close(action.code, text(action.reason));
    } else if (action.type === "respond") {
      const response = responses.get(action.request);
      responses.delete(action.request);
      const [name = "", value] = text(action.header).split(": ");
      const headers = { "Content-Type": text(action.content_type), ...(name && { [name]: value }) };
      const respond = (body: string) => response?.writeHead(action.status, headers).end(body);
      setTimeout(respond, action.delay_ms, text(action.body));
    } else if (action.type === "forward") {
      void forward(action.forward, Buffer.from(action.body), action.timeout_ms);
    } else if (action.type === "set_timer") {
      clearTimeout(timer);
      const delay = Math.max(action.at_ms - Date.now(), 0);
      if (action.at_ms > 0) timer = setTimeout(apply, delay, { type: "timer_fired" });
    } // The other actions store records, from which a new hub can be restored.
  }

  async function forward(id: number, body: Buffer<ArrayBuffer>, timeoutMs: number) {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${serverSecret}` };
    const init = { method: "POST", headers, body, signal: AbortSignal.timeout(timeoutMs) };
    const response = await fetch(`${serverUrl}?type=channel`, init).catch(() => undefined);
    const answer = (await response?.text().catch(() => "")) ?? "";
    apply({ type: "forward_done", forward: id, status: response?.status ?? 0, body: answer });
  }

  const server = createServer((incoming, response) => {
    const { method = "", url: path = "" } = incoming;
    const { authorization = "" } = incoming.headers;
    const request = ++lastId;
    responses.set(request, response);
    const bytesMax = hub.bodyBytesMax(method, path, authorization); // 0: no body is needed
    let body = Buffer.alloc(0);
    let body_bytes = 0;
    incoming.on("data", (chunk: Buffer) => {
      body_bytes += chunk.length;
      body = Buffer.concat(body_bytes <= bytesMax ? [body, chunk] : []);
    });
    incoming.on("end", () => {
      apply({ type: "http_request", request, body_bytes, method, path, authorization, body });
    });
  });

  new WebSocketServer({ server, path: "/socket" }).on("connection", (socket) => {
    const client = ++lastId;
    sockets.set(
      client,
      socket.on("error", () => {}),
    );
    socket.on("message", (bytes: Buffer) => apply({ type: "client_frame", client, bytes }));
    socket.on("close", () => sockets.delete(client) && apply({ type: "client_closed", client }));
    apply({ type: "client_opened", client });
  });
  return server.listen(port);
}
