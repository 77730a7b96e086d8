// The package `ws`. Bun replaces an import of that name by a server of its own, which knows neither the
// turn-taking of `ws` nor its limits on fragments, stops no client that does not read, and counts no
// bytes. So under Bun the package is loaded by its path.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as imported from "ws";

type Ws = Pick<typeof imported, "WebSocket" | "WebSocketServer">;

export const { WebSocket, WebSocketServer } = load();
export type WebSocket = imported.WebSocket;
export type WebSocketServer = imported.WebSocketServer;

function load(): Ws {
  if (process.versions["bun"] === undefined) return imported;
  const require = createRequire(import.meta.url);
  return require(join(dirname(require.resolve("ws/package.json")), "index.js")) as Ws;
}
