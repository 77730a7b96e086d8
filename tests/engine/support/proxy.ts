// A TCP proxy between nodes and their Redis server. A test can freeze connections, so that both
// ends look open and nothing passes, slow them down, and lead them to another server.
import { connect, createServer, type Socket } from "node:net";
import { Transform } from "node:stream";
import { atEnd, listen } from "../../hosts/shared/support/left-open.ts";

export interface RedisProxy {
  readonly port: number;
  /** @param clients lines of CLIENT LIST: the connections to freeze, by their `addr` */
  freeze(clients: string): void;
  /** Passes on all data held back, and continues. */
  thaw(): void;
  /** From now on, each piece of data takes so long, one after the other. */
  slowDown(ms: number): void;
  /** Closes all connections. Further ones lead to this port. */
  redirect(serverPort: number): void;
}

export async function startProxy(serverPort: number): Promise<RedisProxy> {
  let target = serverPort;
  let delayMs = 0;
  const lines: Line[] = [];
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    atEnd(() => far.destroy());
    const slowly = () =>
      new Transform({
        transform: (chunk, _, pass) =>
          void (delayMs === 0 ? pass(null, chunk) : setTimeout(pass, delayMs, null, chunk)),
      });
    const line = { near, far, up: slowly(), down: slowly() };
    lines.push(line);
    line.up.pipe(far);
    line.down.pipe(near);
    flow(line);
    for (const one of [near, far]) one.on("error", () => {});
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  return {
    port: await listen(server),
    freeze(clients) {
      for (const { near, far } of lines) {
        if (!clients.includes(` addr=127.0.0.1:${far.localPort} `)) continue;
        near.unpipe().pause();
        far.unpipe().pause();
      }
    },
    thaw() {
      for (const line of lines) if (line.far.isPaused()) flow(line);
    },
    slowDown(ms) {
      delayMs = ms;
    },
    redirect(port) {
      target = port;
      for (const { near, far } of lines.splice(0)) {
        near.destroy();
        far.destroy();
      }
    },
  };
}

interface Line {
  readonly near: Socket;
  readonly far: Socket;
  readonly up: Transform;
  readonly down: Transform;
}

function flow({ near, far, up, down }: Line): void {
  near.pipe(up);
  far.pipe(down);
}
