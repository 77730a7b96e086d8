// The Node host as a process for tests under Bun or Deno (SIDEKICK_COMMAND), with the two variables
// that worker/native/testing.hpp reads, too. It takes the flags that command.ts passes.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
// Built: Deno does not resolve the import of a .js file to a .ts file.
import { createLog, startSidekick } from "../../../../worker/dist/node/index.js";
import { trapping } from "./watched-hub.ts";

const flag = { type: "string" } as const;
const { values: flags } = parseArgs({
  options: {
    port: flag,
    host: flag,
    config: { ...flag, default: "" },
    record: flag,
    "log-level": flag,
    "server-url": flag,
    "server-secret": flag,
    "server-idle-timeout": flag,
  },
});
const { SIDEKICK_TEST_PING_SECONDS: pingSeconds, SIDEKICK_TEST_FAULTS: faults } = process.env;
const { secrets, ...config } = JSON.parse(readFileSync(flags.config, "utf8"));
const sidekick = await startSidekick({
  port: Number(flags.port),
  secrets,
  config,
  log: createLog("debug"),
  ...(flags.host && { host: flags.host }),
  ...(flags.record && { recordFile: flags.record }),
  ...(flags["server-url"] && { serverUrl: flags["server-url"] }),
  ...(flags["server-secret"] && { serverSecret: flags["server-secret"] }),
  ...(flags["server-idle-timeout"] && { serverIdleSeconds: Number(flags["server-idle-timeout"]) }),
  ...(pingSeconds && { pingSeconds: Number(pingSeconds) }),
  ...(faults && { wrapHub: (hub) => trapping(hub, faults.includes("restore")) }),
});
process.on("SIGTERM", () => {
  console.error("shutting down");
  void sidekick.close().then(() => process.exit(0));
});
console.log(`Sidekick listening on http://${flags.host}:${sidekick.port}\nPress Ctrl+C to stop`);
