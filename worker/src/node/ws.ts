// The package `ws`. Bun replaces an import of that name with its own server, which lacks the turns
// of `ws` and its limits on fragments, does not stop clients that do not read, and does not count
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
