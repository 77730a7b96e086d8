// Bun's own publish and subscribe: a client joins the topics it names, and POST /publish publishes
// to a topic. bun-publish.ts PORT SECRET
interface Socket {
  subscribe(topic: string): void;
  send(text: string): void;
}
interface BunServer {
  upgrade(request: Request): boolean;
  publish(topic: string, text: string): number;
}
declare const Bun: {
  serve(options: {
    port: number;
    hostname: string;
    fetch(request: Request, server: BunServer): Promise<Response | undefined>;
    websocket: { perMessageDeflate: boolean; message(socket: Socket, text: string): void };
  }): void;
};

const [port, secret] = process.argv.slice(2) as [string, string];

Bun.serve({
  port: Number(port),
  hostname: "127.0.0.1",
  async fetch(request, server) {
    if (request.method === "GET")
      return server.upgrade(request) ? undefined : new Response(null, { status: 400 });
    if (
      !request.url.endsWith("/publish") ||
      request.headers.get("authorization") !== `Bearer ${secret}`
    )
      return new Response(null, { status: 401 });
    const body = (await request.json()) as { channel: string; data: string };
    server.publish(body.channel, body.data);
    return new Response("{}");
  },
  websocket: {
    perMessageDeflate: false,
    message(socket, text) {
      socket.subscribe(text.slice("join ".length));
      socket.send("joined");
    },
  },
});
