// Builds the page of the inspector, one HTML file without a module and a recording, which
// worker/src/node/inspector-page.ts puts in:
//   node --import tsx worker/inspector/build.ts FILE
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const file = process.argv[2];
if (file === undefined) throw new Error("expected the name of the file to write");

const worker = await bundled("worker.ts");
const page = await bundled("page.ts");
const { code: style } = await transform(readFileSync(here("page.css"), "utf8"), {
  loader: "css",
  minify: true,
});

const csp = [
  "default-src 'none'",
  `script-src '${hash(page)}' 'wasm-unsafe-eval'`,
  `style-src '${hash(style)}'`,
  "worker-src blob:",
  "connect-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const parts: Record<string, string> = { CSP: csp, STYLE: style, WORKER: worker, PAGE: page };
const html = readFileSync(here("page.html"), "utf8").replace(
  /\/\*(CSP|STYLE|WORKER|PAGE)\*\//g,
  (_whole, name: string) => parts[name]!,
);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, html);

async function bundled(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
  });
  const code = outputFiles[0]!.text.trim();
  if (/<\/script|<!--/i.test(code)) throw new Error(`${entry} would end its element`);
  return code;
}

function hash(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
