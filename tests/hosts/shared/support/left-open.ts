// Resources that tests open, and how they are released when a test fails: the failure must show,
// not a process that never ends.
import * as http from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";

const leftOpen: (() => unknown)[] = [];

/** Runs in `closeEverything`, in addition to what the test itself does in time. */
export function atEnd(close: () => unknown): void {
  leftOpen.push(close);
}

/** For `after`. */
export async function closeEverything(): Promise<void> {
  await Promise.all(leftOpen.splice(0).map((close) => close()));
}

/**
 * Starts a test's server on 127.0.0.1, usually an app server; returns its port. It closes with its
 * connections in `closeEverything`.
 */
export async function listen(server: Server, port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  atEnd(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  // Otherwise it closes connections that are idle for 5 s. Sidekicks close them earlier, but one
  // that is starved of CPU may do so later and lose a forward.
  if (server instanceof http.Server) server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) =>
    server.once("error", reject).listen(port, "127.0.0.1", resolve),
  );
  return (server.address() as AddressInfo).port;
}
