// Adapts node:http to a handler that turns a Request into a Response, such as `server.handle` of
// Covenant.
import type { IncomingMessage, ServerResponse } from "node:http";

export type FetchHandler = (request: Request) => Response | Promise<Response>;

const bodyBytesMax = 1024 * 1024;

/**
 * Answers with the result of `handler`, with 413 for a body over 1 MiB, with 500 if the handler
 * throws. Never throws.
 */
export function toNodeListener(handler: FetchHandler) {
  return async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    let response: Response;
    try {
      response = await handler(await toRequest(req));
    } catch (cause) {
      if (req.destroyed && !req.complete) return; // the client disconnected
      if (!(cause instanceof BodyTooLarge)) console.error("demo: request failed:", cause);
      response =
        cause instanceof BodyTooLarge
          ? new Response(cause.message, { status: 413, headers: { Connection: "close" } })
          : new Response("Internal error", { status: 500 });
    }
    const body = Buffer.from(await response.arrayBuffer());
    res.writeHead(response.status, Object.fromEntries(response.headers));
    res.end(body);
  };
}

class BodyTooLarge extends Error {}

async function toRequest(req: IncomingMessage): Promise<Request> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  // Appended rather than resolved: "//host/x" would otherwise name another host.
  const url = new URL(`http://localhost${req.url?.startsWith("/") ? req.url : "/"}`);
  const method = req.method ?? "GET";
  return new Request(url, {
    method,
    headers,
    body: method === "GET" || method === "HEAD" ? null : await readBody(req),
  });
}

async function readBody(req: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax)
      throw new BodyTooLarge(`The body is larger than ${bodyBytesMax} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks) as Uint8Array<ArrayBuffer>;
}
