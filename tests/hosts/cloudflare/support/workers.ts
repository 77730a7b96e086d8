// The main modules that the tests run in place of the deployed one.
import { fileURLToPath } from "node:url";

/** The deployed Worker with a back door: evictions, storage, the clock. */
export const testWorker = fileURLToPath(new URL("test-worker.ts", import.meta.url));
/** The same with instrumented storage. */
export const watchedWorker = fileURLToPath(new URL("watched-worker.ts", import.meta.url));
/** The same, counting what Cloudflare bills. */
export const billedWorker = fileURLToPath(new URL("billed-worker.ts", import.meta.url));
