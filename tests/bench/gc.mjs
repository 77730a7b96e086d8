// Loaded first into every measured server that collects garbage: SIGUSR2 runs a full collection, so
// that the resident memory afterwards is memory in use.
import { Session } from "node:inspector";

let session; // no server has one before the first signal; Node hangs if it ends in the callback

process.on("SIGUSR2", () => {
  if (globalThis.Bun) return globalThis.Bun.gc(true);
  if (!session) (session = new Session()).connect();
  // Unlike gc(), it always returns the unused half of the young generation, up to 32 MB.
  session.post("HeapProfiler.collectGarbage");
});
