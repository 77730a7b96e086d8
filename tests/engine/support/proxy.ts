// A TCP proxy between nodes and their Redis server. A test can freeze connections, so that both
// ends look open and nothing passes, and lead them to another server.
import { connect, createServer, type Socket } from "node:net";
import { atEnd, listen } from "../../hosts/shared/support/left-open.ts";

export interface Proxy {
  readonly port: number;
  /** @param clients lines of CLIENT LIST: the connections to freeze, by their `addr` */
  freeze(clients: string): void;
  /** Closes all connections. Further ones lead to this port. */
  redirect(serverPort: number): void;
}

export async function startProxy(serverPort: number): Promise<Proxy> {
  let target = serverPort;
  const pairs: (readonly [near: Socket, far: Socket])[] = [];
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    atEnd(() => far.destroy());
    pairs.push([near, far]);
    near.pipe(far).pipe(near);
    for (const one of [near, far]) one.on("error", () => {});
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  return {
    port: await listen(server),
    freeze(clients) {
      for (const [near, far] of pairs) {
        if (!clients.includes(` addr=127.0.0.1:${far.localPort} `)) continue;
        near.unpipe().pause();
        far.unpipe().pause();
      }
    },
    redirect(port) {
      target = port;
      for (const [near, far] of pairs.splice(0)) {
        near.destroy();
        far.destroy();
      }
    },
  };
}
