// Starts the demo beside a running Sidekick: node --import tsx worker/demo/server.ts
// --sidekick-secret A --server-secret B
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseFlags } from "../src/node/flags.js";
import { toNodeListener } from "./http-adapter.js";
import { covenantPath, createSite } from "./site.js";

const usage = `Usage: node --import tsx worker/demo/server.ts [options]
  --port N               port of the page (default 3000; 0: any free one)
  --sidekick-url URL     the Sidekick, as browsers reach it (default http://localhost:3001)
  --sidekick-secret TEXT the Sidekick's --secret (or SIDEKICK_SECRET)
  --server-secret TEXT   the Sidekick's --server-secret (or SIDEKICK_SERVER_SECRET)
  --cluster              the Sidekick URL is that of proxy.ts: the page shows its Sidekick`;

function readOptions() {
  const { values } = parseFlags({
    options: {
      port: { type: "string", default: "3000" },
      "sidekick-url": { type: "string", default: "http://localhost:3001" },
      "sidekick-secret": { type: "string" },
      "server-secret": { type: "string" },
      cluster: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 65535)
    throw new Error(`--port: expected 0 to 65535, got ${JSON.stringify(values.port)}`);
  if (!URL.canParse(values["sidekick-url"])) {
    throw new Error(
      "--sidekick-url: expected a URL such as http://localhost:3001, got " +
        `${JSON.stringify(values["sidekick-url"])}`,
    );
  }
  const sidekickSecret = values["sidekick-secret"] ?? process.env["SIDEKICK_SECRET"];
  const serverSecret = values["server-secret"] ?? process.env["SIDEKICK_SERVER_SECRET"];
  if (!sidekickSecret)
    throw new Error("--sidekick-secret is missing: pass the Sidekick's --secret");
  if (!serverSecret)
    throw new Error("--server-secret is missing: pass the Sidekick's --server-secret");
  const { "sidekick-url": sidekickUrl, cluster: isCluster } = values;
  return { port, site: { sidekickUrl, sidekickSecret, serverSecret, isCluster } };
}

function fail(text: string): never {
  console.error(`demo: ${text}`);
  process.exit(1);
}

async function main() {
  const { port, site } = readOptions();
  const server = createServer(toNodeListener(await createSite(site)));
  server.on("error", (error: NodeJS.ErrnoException) => {
    fail(
      error.code === "EADDRINUSE"
        ? `port ${port} is in use: stop the process that listens there, or choose another ` +
            "with --port"
        : error.message,
    );
  });
  server.listen(port, () => {
    const { port: actual } = server.address() as AddressInfo;
    console.log(`demo: http://localhost:${actual} (Covenant at ${covenantPath})`);
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)
    process.once(signal, () => process.exit(0));
  // By itself, Node would open a debugger at SIGUSR1, for every user of the machine.
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
}

main().catch((error: Error) => fail(`${error.message}\n\n${usage}`));
