// The page of the inspector as one HTML file that loads nothing: with the module, and with a
// recording if there is one. worker/inspector/ builds the page itself.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { constants, createGzip, gzipSync } from "node:zlib";

/** A multiple of 3, so that each piece of base64 can be decoded by itself. */
const PIECE_BYTES = 3 << 18;

export interface PageParts {
  /** The bytes of a module. */
  readonly module: Uint8Array;
  readonly recording?: { readonly name: string; readonly bytes: Readable };
  /** It reads `live` beside itself. */
  readonly isLive?: boolean;
}

const RECORDING = "<!--recording-->";

/** The text of the page, in pieces. */
export async function* inspectorPage(parts: PageParts): AsyncGenerator<string> {
  const file = fileURLToPath(new URL("../inspector.html", import.meta.url));
  const page = readFileSync(file, "utf8");
  const [start, rest] = halves(page, "<!--module-->");
  const [middle, end] = halves(rest, RECORDING);
  const module = gzipSync(parts.module, { level: constants.Z_BEST_COMPRESSION });
  yield parts.isLive === true ? start.replace("connect-src 'none'", "connect-src 'self'") : start;
  yield '<script type="text/plain" id="module" data-encoding="gzip">';
  yield `${module.toString("base64")}</script>`;
  yield middle;
  if (parts.recording !== undefined) {
    const name = encodeURIComponent(basename(parts.recording.name));
    for await (const piece of pieces(parts.recording.bytes)) {
      yield `<script type="text/plain" class="recording" data-encoding="gzip" data-name="${name}">`;
      yield `${piece.toString("base64")}</script>\n`;
    }
  } else {
    // `sidekick-trace html` puts one in.
    yield parts.isLive === true ? '<script type="text/plain" class="live"></script>' : RECORDING;
  }
  yield end;
}

function halves(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  if (at < 0) throw new Error(`dist/inspector.html has no ${mark}: run scripts/build again`);
  return [text.slice(0, at), text.slice(at + mark.length)];
}

async function* pieces(bytes: Readable): AsyncGenerator<Buffer> {
  const gzip = createGzip();
  const out = new PassThrough();
  bytes.on("error", (error) => out.destroy(error));
  bytes.pipe(gzip).pipe(out);
  let rest = Buffer.alloc(0);
  for await (const chunk of out as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    for (; rest.length >= PIECE_BYTES; rest = rest.subarray(PIECE_BYTES))
      yield rest.subarray(0, PIECE_BYTES);
  }
  yield rest;
}
