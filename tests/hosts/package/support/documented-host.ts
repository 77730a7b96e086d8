// The host of docs/write-a-host.md as a command for SIDEKICK_COMMAND.
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { compileModuleSync, Hub } from "covenant-sidekick/module";
import { startHost } from "../../../../docs/examples/typescript/host.ts";

const flag = { type: "string", default: "" } as const;
const { values: flags } = parseArgs({
  options: {
    port: flag,
    secret: flag,
    "server-url": flag,
    "server-secret": flag,
    "auth-delay": { type: "string" },
  },
});
const delay = flags["auth-delay"] && { auth_failure_delay_ms: Number(flags["auth-delay"]) };
const wasm = readFileSync(new URL("../../../../worker/module/sidekick.wasm", import.meta.url));
const config = { secrets: [flags.secret], ...delay };
const hub = Hub.create(compileModuleSync(wasm), JSON.stringify(config));
const server = startHost(hub, Number(flags.port), flags["server-url"], flags["server-secret"]);
server.on("listening", () => {
  console.log(`http://localhost:${(server.address() as AddressInfo).port}`);
});
