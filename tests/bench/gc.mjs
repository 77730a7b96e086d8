// Loaded ahead of every measured server that collects garbage: SIGUSR2 collects all of it, so that what is resident
// afterwards is what is held.
process.on("SIGUSR2", () => {
  if (globalThis.Bun) globalThis.Bun.gc(true);
  else for (let i = 0; i < 3; i++) globalThis.gc();
});
