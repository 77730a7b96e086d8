// Runs the Cloudflare Worker in workerd on this machine, with the flags of sidekick-serve that
// apply to it.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { LIMITS } from "../src/module/border.generated.ts";
import { ConfigError, compileModuleSync, Hub } from "../src/module/hub.ts";
import { integer, parseFlags, readPortVariable, UsageError } from "../src/node/flags.ts";
import { LOG_FORMATS } from "../src/node/log.ts";
import { checkServerSecret } from "../src/node/server.ts";
import { originsOf } from "../src/session/origins.ts";
import { DEFAULT_MODULE, startWorkerd } from "./workerd.ts";

const OBJECTS_MAX = LIMITS.engine_shards.highest;

const HELP = `scripts/run worker: the Cloudflare Worker in workerd, locally, with temporary storage

Usage: scripts/run worker --secret SECRET [options]

  -p, --port NUMBER         port to listen on; 0: any free port (SIDEKICK_PORT, default 3000)
      --host ADDRESS        address to listen on (SIDEKICK_HOST, default 127.0.0.1)
  -s, --secret SECRET       Bearer token expected from the app server (SIDEKICK_SECRET, required);
                            twice during a rotation (SIDEKICK_SECRET_PREVIOUS)
      --metrics-secret TEXT Bearer token for GET /metrics alone; each secret is accepted there, too
                            (SIDEKICK_METRICS_SECRET)
      --auth-delay MS       delay before a 401 (SIDEKICK_AUTH_DELAY, default 3000)
      --server-url URL      the app server (SIDEKICK_SERVER_URL); required for channels
      --server-secret TEXT  Bearer token sent to the app server (SIDEKICK_SERVER_SECRET)
      --allowed-origin URL  let only pages of this origin open a socket; repeat the flag for several
                            (SIDEKICK_ALLOWED_ORIGINS, separated by commas; default all)
      --config FILE         JSON file with limits, e.g. {"frame_bytes_max": 65536}; all of them:
                            docs/protocol.md (SIDEKICK_LIMITS, the JSON itself). It may also hold
                            "secrets" and "allowed_origins"
      --trace-bytes NUMBER  approximate size of the trace kept for GET /trace
                            (SIDEKICK_TRACE_BYTES, default 0: none)
      --gateways NUMBER     objects that hold sockets (SIDEKICK_GATEWAYS); requires --shards
      --shards NUMBER       objects that order messages and keep tokens (SIDEKICK_SHARDS);
                            requires --gateways
      --log-format FORMAT   text, or json: one object per line (SIDEKICK_LOG_FORMAT, default text)
  -h, --help                this text

SIDEKICK_LOCATIONS and SIDEKICK_HUBS are passed to the Worker: docs/deploy-cloudflare.md.
A value that begins with a dash: --secret=-value.
`;

try {
  await main();
} catch (error) {
  console.error(`scripts/run worker: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(error instanceof UsageError || error instanceof ConfigError ? 2 : 1);
}

async function main(): Promise<void> {
  const { values: flags } = parseFlags({
    options: {
      port: { type: "string", short: "p" },
      host: { type: "string" },
      secret: { type: "string", short: "s", multiple: true },
      "metrics-secret": { type: "string" },
      "auth-delay": { type: "string" },
      "server-url": { type: "string" },
      "server-secret": { type: "string" },
      "allowed-origin": { type: "string", multiple: true },
      config: { type: "string" },
      "trace-bytes": { type: "string" },
      gateways: { type: "string" },
      shards: { type: "string" },
      "log-format": { type: "string" },
      help: { type: "boolean", short: "h" },
      main: { type: "string" }, // for tests: another main module, which may import "workerd:unsafe"
    },
  });
  if (flags.help === true) return void process.stdout.write(HELP);
  const env = (name: string) => process.env[name] || undefined;
  const warn = (message: string, { value }: { value: string }) =>
    console.error(`scripts/run worker: ${message} (${value})`);
  const port = integer(
    "--port (SIDEKICK_PORT)",
    flags.port ?? readPortVariable(warn) ?? "3000",
    0,
    65535,
  );
  const host = flags.host ?? env("SIDEKICK_HOST") ?? "127.0.0.1";
  const hubs = env("SIDEKICK_HUBS");
  const {
    secrets: fileSecrets,
    allowed_origins: fileOrigins,
    metrics_secret: fileMetricsSecret,
    ...limits
  }: Config = JSON.parse(
    flags.config === undefined
      ? (env("SIDEKICK_LIMITS") ?? "{}")
      : readFileSync(flags.config, "utf8"),
  );
  const envSecret = env("SIDEKICK_SECRET");
  const [secret, previous = env("SIDEKICK_SECRET_PREVIOUS"), ...more] =
    flags.secret ?? (envSecret === undefined ? (fileSecrets ?? []) : [envSecret]);
  if (!secret && hubs === undefined)
    throw new UsageError("a secret is required: set --secret or SIDEKICK_SECRET");
  if (more.length > 0) throw new UsageError("--secret: the Worker accepts two at most");
  const origins = flags["allowed-origin"]?.join() ?? env("SIDEKICK_ALLOWED_ORIGINS");
  const allowedOrigins = origins === undefined ? fileOrigins : originsOf(origins);
  const authDelay = flags["auth-delay"] ?? env("SIDEKICK_AUTH_DELAY");
  if (authDelay !== undefined)
    limits["auth_failure_delay_ms"] = integer(
      "--auth-delay (SIDEKICK_AUTH_DELAY)",
      authDelay,
      0,
      60000,
    );
  const serverSecret = flags["server-secret"] ?? env("SIDEKICK_SERVER_SECRET");
  const metricsSecret =
    flags["metrics-secret"] ?? env("SIDEKICK_METRICS_SECRET") ?? fileMetricsSecret;
  const logFormat = flags["log-format"] ?? env("SIDEKICK_LOG_FORMAT") ?? "text";
  if (!LOG_FORMATS.some((name) => name === logFormat))
    throw new UsageError(
      `--log-format (SIDEKICK_LOG_FORMAT): expected text or json, got ${JSON.stringify(logFormat)}`,
    );
  const gateways = flags.gateways ?? env("SIDEKICK_GATEWAYS");
  const shards = flags.shards ?? env("SIDEKICK_SHARDS");
  if ((gateways === undefined) !== (shards === undefined))
    throw new UsageError("--gateways and --shards: set both or neither");
  if (gateways !== undefined) integer("--gateways (SIDEKICK_GATEWAYS)", gateways, 1, OBJECTS_MAX);
  if (shards !== undefined) integer("--shards (SIDEKICK_SHARDS)", shards, 1, OBJECTS_MAX);
  // Here, as on the other hosts: otherwise every request gets 500.
  if (hubs === undefined) {
    const config = {
      ...limits,
      secrets: [secret, previous].filter(Boolean),
      ...(allowedOrigins && { allowed_origins: allowedOrigins }),
      ...(metricsSecret !== undefined && { metrics_secret: metricsSecret }),
    };
    Hub.create(compileModuleSync(readFileSync(DEFAULT_MODULE)), JSON.stringify(config));
    checkServerSecret(serverSecret ?? "");
  }

  const worker = await startWorkerd({
    host,
    port,
    ...(flags.main !== undefined && { main: resolve(flags.main), unsafe: true }),
    env: {
      SIDEKICK_SECRET: secret,
      SIDEKICK_SECRET_PREVIOUS: previous,
      SIDEKICK_METRICS_SECRET: metricsSecret,
      SIDEKICK_LOG_FORMAT: logFormat,
      SIDEKICK_SERVER_URL: flags["server-url"] ?? env("SIDEKICK_SERVER_URL"),
      SIDEKICK_SERVER_SECRET: serverSecret,
      SIDEKICK_ALLOWED_ORIGINS: allowedOrigins?.join(),
      SIDEKICK_HUBS: hubs,
      SIDEKICK_TRACE_BYTES: flags["trace-bytes"] ?? env("SIDEKICK_TRACE_BYTES"),
      SIDEKICK_GATEWAYS: gateways,
      SIDEKICK_SHARDS: shards,
      SIDEKICK_LOCATIONS: env("SIDEKICK_LOCATIONS"),
      SIDEKICK_LIMITS: JSON.stringify(limits),
    },
    onOutput: (chunk) => process.stderr.write(chunk),
  });
  let stopping = false;
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const)
    process.on(signal, () => console.error(`scripts/run worker: ignored ${signal}`));
  for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const) {
    process.on(signal, () => {
      stopping = true;
      void worker.stop();
    });
  }
  console.log(
    `Sidekick listening on http://${host.includes(":") ? `[${host}]` : host}:${worker.port}`,
  );
  console.log(
    `WebSocket endpoint: ws://${host.includes(":") ? `[${host}]` : host}:${worker.port}/socket`,
  );
  console.log("Running in workerd, as on Cloudflare. Press Ctrl+C to stop");
  const how = await worker.exited;
  // A terminal's Ctrl+C also reaches workerd, possibly first.
  if (!stopping && !/SIG(INT|TERM|QUIT|HUP)$/.test(how)) throw new Error(how);
  process.exit(0);
}

interface Config {
  readonly secrets?: readonly string[];
  readonly allowed_origins?: readonly string[];
  readonly metrics_secret?: string;
  [limit: string]: unknown;
}
