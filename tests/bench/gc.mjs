// Loaded first into every measured server that collects garbage: SIGUSR2 runs a full collection, so
// that the resident memory afterwards is memory in use.
process.on("SIGUSR2", () => {
  if (globalThis.Bun) globalThis.Bun.gc(true);
  else for (let i = 0; i < 3; i++) globalThis.gc();
});
