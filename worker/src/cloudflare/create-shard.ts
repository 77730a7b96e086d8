// The only place where the Worker creates shards from the package's module for them, each in its
// own instance: create-hub.ts says why.
import module from "../../module/shard.wasm";
import { Shard } from "../module/shard.js";

/** An isolate has 128 MB, possibly for two shards, and a second memory while one is replaced. */
const BYTES_MAX = 32 << 20;
/** At least twice the largest message: a body of `http_body_bytes_max`. */
const RUN_BYTES_MAX = 20 << 20;

export function createShard(server: string, epoch: string, hashSeed: string): Shard {
  return new Shard(module, server, {
    epoch,
    hashSeed,
    bytesMax: BYTES_MAX,
    runBytesMax: RUN_BYTES_MAX,
  });
}
