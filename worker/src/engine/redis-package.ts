// The decoder of the npm package `@redis/client`. The client of that package keeps a listener per
// channel, creates a promise per call and rewrites subscriptions; a pipe needs none of that.
import { ConfigError } from "../module/hub.js";

export interface Decoder {
  /** @throws Error if the bytes are not RESP */
  write(chunk: Buffer): void;
}

export interface DecoderOptions {
  onReply(reply: unknown): unknown;
  onErrorReply(error: Error): unknown;
  onPush(push: unknown[]): unknown;
  /** The class for replies of a type: 36 is a text of known length. */
  getTypeMapping(): { readonly 36: BufferConstructor };
}

export type DecoderClass = new (options: DecoderOptions) => Decoder;

/** The version that the tests of Sidekick use. */
export const VERSION = "6.3.1";

/** Not a literal in import(): bundlers must not look for a package that is optional. */
const FILE = "@redis/client/dist/lib/RESP/decoder.js";

/** @throws ConfigError if the package is not installed */
export async function loadDecoder(): Promise<DecoderClass> {
  try {
    const { Decoder } = (await import(FILE)) as { readonly Decoder?: DecoderClass };
    if (typeof Decoder === "function") return Decoder;
  } catch {
    // The same advice for a missing package and for a version without this file.
  }
  throw new ConfigError(
    `--engine requires the package @redis/client; run: npm install @redis/client@${VERSION}`,
  );
}
