// Connects to a name, whichever of its addresses answers. Owns the attempts until one succeeds.
import dns from "node:dns";
import * as net from "node:net";

/** RFC 8305 section 5: after this time the next address is tried beside the earlier ones. */
const NEXT_ADDRESS_MS = 250;

export interface Connecting {
  /** Drops all attempts; nothing is called any more. */
  cancel(): void;
}

/**
 * No attempt is aborted while another may still succeed: a lost SYN is repeated only after a
 * second. The caller limits the time.
 */
export function connectToAny(
  host: string,
  port: number,
  onConnect: (socket: net.Socket) => void,
  onFail: (reason: string) => void,
): Connecting {
  const attempts = new Set<net.Socket>();
  let addresses: readonly string[] = [];
  let next = 0;
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const cancel = () => {
    isOver = true;
    clearTimeout(timer);
    for (const attempt of attempts) attempt.destroy();
  };
  const tryNext = () => {
    clearTimeout(timer);
    if (next === addresses.length) return;
    const socket = net.connect({ host: addresses[next++]!, port, noDelay: true });
    attempts.add(socket);
    if (next < addresses.length) timer = setTimeout(tryNext, NEXT_ADDRESS_MS);
    const onError = (error: Error) => {
      if (isOver) return;
      attempts.delete(socket);
      if (next < addresses.length) return tryNext();
      if (attempts.size > 0) return;
      isOver = true;
      onFail(error.message);
    };
    socket.on("error", onError);
    socket.once("connect", () => {
      attempts.delete(socket);
      socket.off("error", onError);
      cancel();
      onConnect(socket);
    });
  };
  resolve(host, (error, found) => {
    if (isOver) return;
    if (error !== undefined) {
      isOver = true;
      return onFail(error);
    }
    addresses = found;
    tryNext();
  });
  return { cancel };
}

type Resolved = (error: string | undefined, addresses: readonly string[]) => void;

/**
 * One lookup per name at a time: each occupies one of the few threads that also serve files, and
 * cannot be cancelled.
 */
const lookups = new Map<string, Resolved[]>();

function resolve(host: string, resolved: Resolved): void {
  if (net.isIP(host) !== 0) return resolved(undefined, [host]);
  const waiting = lookups.get(host);
  if (waiting !== undefined) return void waiting.push(resolved);
  const all = [resolved];
  lookups.set(host, all);
  dns.lookup(host, { all: true }, (error, found) => {
    lookups.delete(host);
    const reason =
      error !== null ? error.message : found.length === 0 ? "the name has no address" : undefined;
    for (const one of all) one(reason, reason === undefined ? found.map((it) => it.address) : []);
  });
}
