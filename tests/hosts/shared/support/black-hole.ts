// An address that does not answer: a listener whose queue is full, so that Linux drops the first
// packet of each further connection.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { atEnd } from "./left-open.ts";

export const BLACK_HOLE_ADDRESS = "127.0.0.2";

/** Until a line comes; then it accepts, and answers each request. Runs until its input ends. */
const PROGRAM = `
import socket, sys, threading
hole = socket.socket()
hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
hole.bind(("${BLACK_HOLE_ADDRESS}", int(sys.argv[1])))
hole.listen(0)
waiting = [socket.socket() for _ in range(4)]
for it in waiting:
    it.setblocking(False)
    it.connect_ex(hole.getsockname())
print("ready", flush=True)
def serve():
    while True:
        peer, _ = hole.accept()
        if peer.recv(1 << 16):
            peer.sendall(b"HTTP/1.1 400 Bad Request\\r\\nContent-Length: 5\\r\\n\\r\\nheard")
        peer.close()
if sys.stdin.readline():
    for it in waiting:
        it.close()
    threading.Thread(target=serve, daemon=True).start()
    print("open", flush=True)
    sys.stdin.read()
`;

export interface BlackHole {
  /** From now on it answers 400 with "heard". */
  open(): Promise<void>;
  close(): void;
}

export async function startBlackHole(port: number): Promise<BlackHole> {
  const child = spawn("python3", ["-c", PROGRAM, String(port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const close = () => void child.stdin.end();
  atEnd(close);
  await once(child.stdout, "data");
  return {
    open: async () => {
      child.stdin.write("open\n");
      await once(child.stdout, "data");
    },
    close,
  };
}
