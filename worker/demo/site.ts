// The demo's HTTP server: the page, its bundle, and the Covenant endpoint with the check that
// belongs in front of it.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { requireSidekickSecret } from "../src/guard/index.js";
import { sidekickServer } from "../src/server/index.js";
import { createApp } from "./app.js";
import type { FetchHandler } from "./http-adapter.js";

export interface SiteOptions {
  /** The Sidekick's URL for this server and for browsers: http://host:port */
  sidekickUrl: string;
  /** The secret that this server presents to the Sidekick. */
  sidekickSecret: string;
  /** The secret that the Sidekick presents when it forwards a channel message. */
  serverSecret: string;
  /** The URL is that of proxy.ts, in front of several Sidekicks. */
  isCluster?: boolean;
}

export const covenantPath = "/api/covenant";

const pageFile = (name: string) => fileURLToPath(new URL(`page/${name}`, import.meta.url));

export async function createSite(options: SiteOptions): Promise<FetchHandler> {
  const app = createApp(sidekickServer(options.sidekickUrl, options.sidekickSecret));

  const bundle = await build({
    entryPoints: [pageFile("main.ts")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    ignoreAnnotations: true, // the package's `sideEffects` names none of the demo's modules
    define: {
      SIDEKICK_URL: JSON.stringify(options.sidekickUrl),
      IS_CLUSTER: JSON.stringify(options.isCluster ?? false),
      COVENANT_PATH: JSON.stringify(covenantPath),
    },
    logLevel: "error",
  });
  const files = new Map<string, { type: string; body: string }>([
    ["/", { type: "text/html", body: await readFile(pageFile("index.html"), "utf8") }],
    ["/style.css", { type: "text/css", body: await readFile(pageFile("style.css"), "utf8") }],
    ["/main.js", { type: "text/javascript", body: bundle.outputFiles[0]!.text }],
  ]);

  return async (request) => {
    const url = new URL(request.url);
    if (url.pathname === covenantPath) {
      // Without this check, anyone who finds the address can speak in anyone's name: CovenantServer
      // trusts the context it receives.
      return requireSidekickSecret(request, options.serverSecret) ?? app.handle(request);
    }
    const file = files.get(url.pathname);
    if (!file)
      return new Response(`There is no ${url.pathname} here. The page is at /`, { status: 404 });
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Only GET here", { status: 405, headers: { Allow: "GET, HEAD" } });
    }
    return new Response(file.body, {
      headers: {
        "Content-Type": `${file.type}; charset=utf-8`,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "default-src 'self'; img-src data:; connect-src *",
      },
    });
  };
}
