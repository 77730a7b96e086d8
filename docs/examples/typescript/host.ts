// A Sidekick host: sockets, HTTP, forwards and a timer. The module makes every decision.
import { randomInt } from "node:crypto";
import { createServer, type IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import * as sidekick from "covenant-sidekick/module";
import { type WebSocket, WebSocketServer } from "ws";

const { text, Outcome, REQUEST_HEADERS, VerdictKind } = sidekick;

export function startHost(hub: sidekick.Hub, port: number, serverUrl: string, secret: string) {
  const sockets = new Map<number, WebSocket>();
  const responses = new Map<number, ServerResponse>();
  let lastId = 0;
  let timer: NodeJS.Timeout;

  const apply = (input: sidekick.Input) => hub.handle(Date.now(), input).forEach(perform);

  function perform(action: sidekick.Action): void {
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
      const timeoutMs = action.timeout_ms + sidekick.FORWARD_TIMEOUT_EXTRA_MS;
      void forward(action.forward, Buffer.from(action.body), timeoutMs);
    } else if (action.type === "set_timer") {
      clearTimeout(timer);
      const delay = Math.max(action.at_ms - Date.now(), 0);
      if (action.at_ms > 0) timer = setTimeout(apply, delay, { type: "timer_fired" });
    } // The others store records, from which a new hub can be restored, or cancel a forward.
  }

  async function forward(id: number, body: Buffer<ArrayBuffer>, timeoutMs: number) {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${secret}` };
    const init = { method: "POST", headers, body, signal: AbortSignal.timeout(timeoutMs) };
    const response = await fetch(`${serverUrl}?type=channel`, init).catch(() => undefined);
    const answer = (await response?.text().catch(() => "")) ?? "";
    const outcome = response ? Outcome.answered : Outcome.broken_off;
    const status = response?.status ?? 0;
    apply({ type: "forward_done", forward: id, outcome, status, body: answer });
  }

  // The request as an input, without its body.
  function inputOf({ method = "", url: path = "", headers: given }: IncomingMessage) {
    const line = (name: string) => (given[name] === undefined ? "" : `${name}: ${given[name]}\n`);
    const headers = given.upgrade === undefined ? "" : REQUEST_HEADERS.map(line).join("");
    const [authorization, body_bytes] = [
      given.authorization ?? "",
      +(given["content-length"] ?? 0),
    ];
    const about = { method, path, authorization, headers, body_bytes, body: Buffer.alloc(0) };
    return { type: "http_request", request: ++lastId, ...about } as const;
  }

  const server = createServer((incoming, response) => {
    const request = inputOf(incoming);
    responses.set(request.request, response);
    const { kind, bodyBytesMax } = hub.admit(request);
    if (kind !== VerdictKind.body || request.body_bytes > bodyBytesMax) return apply(request);
    let body = Buffer.alloc(0);
    let body_bytes = 0;
    incoming.on("data", (chunk: Buffer) => {
      body_bytes += chunk.length;
      body = Buffer.concat(body_bytes <= bodyBytesMax ? [body, chunk] : []);
    });
    incoming.on("end", () => apply({ ...request, body_bytes, body }));
  });

  const maxPayload = hub.limits.frame_bytes_max + sidekick.FRAME_BYTES_OVER_MAX;
  const socketServer = new WebSocketServer({ noServer: true, maxPayload });
  server.on("upgrade", (incoming: IncomingMessage, stream: Duplex, head: Buffer) => {
    const request = inputOf(incoming);
    if (hub.admit(request).kind === VerdictKind.socket)
      return socketServer.handleUpgrade(incoming, stream, head, open);
    const response = new ServerResponse(incoming);
    response.assignSocket(incoming.socket);
    response.on("finish", () => stream.end());
    responses.set(request.request, response);
    apply(request);
  });

  function open(socket: WebSocket): void {
    const client = ++lastId;
    sockets.set(client, socket);
    socket.on("error", () => {});
    socket.on("message", (bytes: Buffer, isBinary) =>
      apply({ type: "client_frame", client, bytes, is_text: isBinary ? 0 : 1 }),
    );
    socket.on("close", () => sockets.delete(client) && apply({ type: "client_closed", client }));
    apply({ type: "client_opened", client });
  }

  apply({ type: "begin", epoch: randomInt(1, 2 ** 48 - 1) });
  apply({ type: "restored" }); // nothing: this host stores nothing
  return server.listen(port);
}
