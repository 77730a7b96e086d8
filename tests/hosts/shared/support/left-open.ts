// What tests open, and what ends it when a test fails: so that the failure is seen and not a process that never ends.
import * as http from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";

const leftOpen: (() => unknown)[] = [];

/** To be done by `closeEverything`, beside whatever the test itself does in time. */
export function atEnd(close: () => unknown): void {
  leftOpen.push(close);
}

/** For `after`. */
export async function closeEverything(): Promise<void> {
  await Promise.all(leftOpen.splice(0).map((close) => close()));
}

/** Starts a server of a test on 127.0.0.1, most often one that plays an app server; returns its port. It ends with its connections when everything is closed. */
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
  // Else it ends connections that are idle for 5 s. Sidekicks do before; but one that has too little time does so later, and loses a forward.
  if (server instanceof http.Server) server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) =>
    server.once("error", reject).listen(port, "127.0.0.1", resolve),
  );
  return (server.address() as AddressInfo).port;
}
