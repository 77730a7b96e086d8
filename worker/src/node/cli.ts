#!/usr/bin/env node
// The command `sidekick-serve`: reads flags and environment, starts the server, and stops it on a
// signal.
import { lookup } from "node:dns/promises";
import type { Stats } from "node:fs";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { ConfigError, Hub } from "../module/hub.js";
import type { WasmModule } from "../module/wasm.js";
import { originsOf } from "../session/origins.js";
import { readDefaultModule } from "./default-module.js";
import { ENGINE_FLAGS, readEngineFlags } from "./engine-flags.js";
import { integer, parseFlags, readPortVariable, UsageError } from "./flags.js";
import { InspectError, parseInspectAddress } from "./inspection.js";
import type { Log, LogFormat, LogLevel } from "./log.js";
import { createLog, LOG_FORMATS, LOG_LEVELS } from "./log.js";
import { warnIfPublic } from "./private-file.js";
import type { Sidekick, SidekickOptions } from "./server.js";
import { startSidekick } from "./server.js";

const HELP = `sidekick-serve: WebSocket server for a Covenant app: channels and resource updates

Usage: sidekick-serve --secret SECRET [options]

  -p, --port NUMBER         port to listen on; 0: any free port (SIDEKICK_PORT, default 3000)
      --host ADDRESS        address to listen on (SIDEKICK_HOST, default all)
  -s, --secret SECRET       Bearer token expected from the app server (SIDEKICK_SECRET, required);
                            repeat the flag to accept several during a rotation
      --metrics-secret TEXT Bearer token for GET /metrics alone; each secret is accepted there, too
                            (SIDEKICK_METRICS_SECRET)
      --auth-delay MS       delay before a 401 (SIDEKICK_AUTH_DELAY, default 3000)
      --idle-timeout SECONDS
                            close an HTTP connection after this idle time; must exceed that of a
                            proxy in front (SIDEKICK_IDLE_TIMEOUT, default 65)
      --server-url URL      the app server, e.g. http://localhost:3000/api/covenant, without user
                            and password (SIDEKICK_SERVER_URL); required for channels
      --server-secret TEXT  Bearer token sent to the app server (SIDEKICK_SERVER_SECRET)
      --allowed-origin URL  let only pages of this origin open a socket, e.g.
                            https://app.example.com or https://*.example.com; repeat the flag for
                            several (SIDEKICK_ALLOWED_ORIGINS, separated by commas; default all)
      --server-idle-timeout SECONDS
                            close a connection to the app server after this idle time; must be
                            shorter than the app server's own; 0: one connection per message
                            (SIDEKICK_SERVER_IDLE_TIMEOUT, default 4)
      --drain-seconds SECONDS
                            on shutdown, first refuse new sockets and close the open ones at a
                            steady rate over this time (SIDEKICK_DRAIN_SECONDS, default 0: all at
                            once)
      --config FILE         JSON file with limits, e.g. {"frame_bytes_max": 65536}; all of them:
                            docs/protocol.md in this package. It may also hold the lists "secrets"
                            and "allowed_origins", used if neither the flag nor the variable is set
      --record FILE         append a trace of everything that goes in and out; the file
                            contains messages, contexts and tokens
      --inspect [HOST:]PORT serve a page with live traffic to developers on this machine, and print
                            its address (HOST: default 127.0.0.1); 0: any free port. The page shows
                            messages, contexts and tokens
      --engine URL          a Redis server that several Sidekicks share, e.g. redis://host:6379/0 or
                            rediss://host with TLS (SIDEKICK_ENGINE, which may hold a password:
                            redis://user:password@host); needs the package @redis/client
      --engine-ca FILE      trust the authorities in this PEM file for rediss://
                            (SIDEKICK_ENGINE_CA, default: those that Node trusts)
      --engine-prefix TEXT  prefix of all keys and channels (SIDEKICK_ENGINE_PREFIX, default
                            sidekick)
      --log-level LEVEL     ${LOG_LEVELS.join(", ")} (SIDEKICK_LOG_LEVEL, default info)
      --log-format FORMAT   text, or json: one object per line (SIDEKICK_LOG_FORMAT, default text)
  -h, --help                this text
  -v, --version             the version

Precedence: flag, environment variable, config file.
A value that begins with a dash: --secret=-value.
On SIGTERM, SIGINT or SIGQUIT it drains, stops accepting, lets forwards in flight finish and closes
sockets with 1001. On a second signal it exits at once, after flushing an active recording.
Alias: covenant-sidekick.
`;

try {
  await main();
} catch (error) {
  const usage = error instanceof UsageError || error instanceof ConfigError;
  console.error(`sidekick-serve: ${describe(error)}${usage ? "\nTry sidekick-serve --help" : ""}`);
  process.exit(usage ? 2 : 1);
}

async function main(): Promise<void> {
  const { values: flags } = parseFlags({
    options: {
      port: { type: "string", short: "p" },
      host: { type: "string" },
      secret: { type: "string", short: "s", multiple: true },
      "metrics-secret": { type: "string" },
      "auth-delay": { type: "string" },
      "idle-timeout": { type: "string" },
      "server-url": { type: "string" },
      "server-secret": { type: "string" },
      "allowed-origin": { type: "string", multiple: true },
      "server-idle-timeout": { type: "string" },
      "drain-seconds": { type: "string" },
      config: { type: "string" },
      record: { type: "string" },
      inspect: { type: "string" },
      ...ENGINE_FLAGS,
      "log-level": { type: "string" },
      "log-format": { type: "string" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "v" },
    },
  });
  if (flags.help === true) return void process.stdout.write(HELP);
  if (flags.version === true) return void console.log(version());

  const env = (name: string) => process.env[name] || undefined;
  const log = createLog(
    logLevel(flags["log-level"] ?? env("SIDEKICK_LOG_LEVEL") ?? "info"),
    undefined,
    logFormat(flags["log-format"] ?? env("SIDEKICK_LOG_FORMAT") ?? "text"),
  );
  // The reader of our output may exit; that must not stop the server.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  ignoreSignals(log);
  const port = integer(
    "--port (SIDEKICK_PORT)",
    flags.port ?? readPortVariable(log.warn) ?? "3000",
    0,
    65535,
  );
  const host = flags.host ?? process.env["SIDEKICK_HOST"];
  // It usually comes from a variable that is not set: it must not mean all addresses.
  if (host === "") throw new UsageError('--host (SIDEKICK_HOST): expected an address, got ""');
  const idleSeconds = integer(
    "--idle-timeout (SIDEKICK_IDLE_TIMEOUT)",
    flags["idle-timeout"] ?? env("SIDEKICK_IDLE_TIMEOUT") ?? "65",
    1,
    3600,
  );
  const metricsSecret = flags["metrics-secret"] ?? env("SIDEKICK_METRICS_SECRET");
  const authDelay = flags["auth-delay"] ?? env("SIDEKICK_AUTH_DELAY");
  const serverUrl = flags["server-url"] ?? env("SIDEKICK_SERVER_URL");
  const serverSecret = flags["server-secret"] ?? env("SIDEKICK_SERVER_SECRET");
  const originList = env("SIDEKICK_ALLOWED_ORIGINS");
  const allowedOrigins = flags["allowed-origin"] ?? (originList && originsOf(originList));
  const engine = readEngineFlags(flags, env);
  const module = readDefaultModule();
  const { secrets: fileSecrets, ...limits } =
    flags.config === undefined ? {} : readConfig(flags.config, module, log);
  const envSecret = env("SIDEKICK_SECRET");
  const secrets = flags.secret ?? (envSecret === undefined ? fileSecrets : [envSecret]);
  if (secrets === undefined || secrets.includes("")) {
    throw new UsageError("a secret is required: set --secret or SIDEKICK_SECRET");
  }
  const delay =
    authDelay === undefined
      ? {}
      : {
          auth_failure_delay_ms: integer("--auth-delay (SIDEKICK_AUTH_DELAY)", authDelay, 0, 60000),
        };

  if (serverUrl !== undefined && serverSecret === undefined) {
    log.warn(
      "--server-url without --server-secret: the app server cannot verify that messages are from " +
        "this Sidekick; set --server-secret",
    );
  }
  const options: SidekickOptions = {
    port,
    secrets,
    log,
    module,
    idleSeconds,
    config: { ...limits, ...delay },
    ...(host !== undefined && { host }),
    ...(serverUrl !== undefined && { serverUrl }),
    ...(serverSecret !== undefined && { serverSecret }),
    ...(metricsSecret !== undefined && { metricsSecret }),
    ...(allowedOrigins && { allowedOrigins }),
    ...(engine && { engine: engine.options }),
    serverIdleSeconds: integer(
      "--server-idle-timeout (SIDEKICK_SERVER_IDLE_TIMEOUT)",
      flags["server-idle-timeout"] ?? env("SIDEKICK_SERVER_IDLE_TIMEOUT") ?? "4",
      0,
      3600,
    ),
    drainSeconds: integer(
      "--drain-seconds (SIDEKICK_DRAIN_SECONDS)",
      flags["drain-seconds"] ?? env("SIDEKICK_DRAIN_SECONDS") ?? "0",
      0,
      3600,
    ),
    ...(flags.record !== undefined && { recordFile: flags.record }),
    ...(flags.inspect !== undefined && { inspect: parseInspectAddress(flags.inspect) }),
  };
  const sidekick = await startSidekick(options).catch(async (error: unknown) => {
    throw await startError(error, port, host, flags.record);
  });

  // Installed before the first line of output: a process that waits for that line may send a signal
  // at once.
  stopOnSignals(sidekick, log);

  const name =
    host === undefined || host === "0.0.0.0" || host === "::"
      ? "localhost"
      : host.includes(":")
        ? `[${host}]`
        : host;
  const lines = [
    `Sidekick listening on http://${name}:${sidekick.port}`,
    `WebSocket endpoint: ws://${name}:${sidekick.port}/socket`,
    ...(serverUrl === undefined ? [] : [`Forwarding messages to ${withoutCredentials(serverUrl)}`]),
    ...(flags.record === undefined ? [] : [`Recording to ${flags.record}`]),
    ...(sidekick.inspectorUrl === undefined ? [] : [`Inspector: ${sidekick.inspectorUrl}`]),
    ...(engine === undefined ? [] : [`Sharing topics and tokens through ${engine.shown}`]),
    "Press Ctrl+C to stop",
  ];
  // Not console.log, which waits for the reader of a full pipe under Bun.
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** By themselves, SIGHUP and SIGUSR2 would kill the process, and SIGUSR1 open a debugger. */
function ignoreSignals(log: Log): void {
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const)
    process.on(signal, () => log.info("ignored a signal", { signal }));
  // A write beyond the limit of a file's size (ulimit -f) fails like a write to a full disk.
  process.on("SIGXFSZ", () => {});
}

/** The table of docs/operating.md; sidekick-server has the same. */
function stopOnSignals(sidekick: Sidekick, log: Log): void {
  let signals = 0;
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals === 1) log.info("shutting down", { signal });
      // The rest of the recording may be on its way to a disk that hangs: a third one ends that.
      if (signals > 2) dieAtOnce(signal);
      void sidekick.close().then(() => {
        // exit() waits for the threads of lookups in progress, possibly for minutes.
        if (process.getActiveResourcesInfo?.().includes("GetAddrInfoReqWrap")) dieAtOnce(signal);
        process.exit(0);
      });
    });
  }
}

/** Waits for no thread, unlike process.exit(). The exit status is that of a killed process. */
function dieAtOnce(signal: NodeJS.Signals): void {
  const deadly = signal === "SIGQUIT" ? "SIGTERM" : signal; // without a core dump
  process.removeAllListeners(deadly);
  process.kill(process.pid, deadly);
}

function logLevel(value: string): LogLevel {
  const level = LOG_LEVELS.find((name) => name === value);
  if (level === undefined)
    throw new UsageError(
      `--log-level: expected one of ${LOG_LEVELS.join(", ")}, got ${JSON.stringify(value)}`,
    );
  return level;
}

function logFormat(value: string): LogFormat {
  const format = LOG_FORMATS.find((name) => name === value);
  if (format === undefined)
    throw new UsageError(
      `--log-format (SIDEKICK_LOG_FORMAT): expected text or json, got ${JSON.stringify(value)}`,
    );
  return format;
}

/**
 * The core says where the mistake is and shows one character. The error of JSON.parse would repeat
 * some of the text, which may hold secrets.
 */
function whyNoJson(text: string, module: WasmModule): string {
  try {
    Hub.create(module, text);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "expected JSON, got ION";
}

/** Checked by itself, independently of flags and variables, so that the error names the file. */
function readConfig(path: string, module: WasmModule, log: Log): { secrets?: readonly string[] } {
  const wrong = (reason: string) => new UsageError(`--config ${path}: ${reason}`);
  let config: unknown;
  let text: string;
  let status: Stats;
  try {
    const file = openSync(path, "r");
    status = fstatSync(file);
    text = readFileSync(file, "utf8").replace(/^\ufeff/, "");
    closeSync(file);
  } catch (error) {
    throw wrong(describe(error));
  }
  try {
    config = JSON.parse(text);
  } catch {
    throw wrong(whyNoJson(text, module));
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw wrong('expected a JSON object with limits, for example {"frame_bytes_max": 65536}');
  }
  for (const drawn of ["hash_seed", "node"])
    if (drawn in config)
      throw wrong(`"${drawn}" is random at each start and cannot be set; remove it`);
  if ("engine_shards" in config) throw wrong('"engine_shards" is set by --engine; remove it');
  if ("engine_epoch" in config) throw wrong('"engine_epoch" is for Cloudflare only; remove it');
  if ("secrets" in config || "metrics_secret" in config)
    warnIfPublic(status, "the secrets in the configuration", path, log);
  try {
    Hub.create(module, JSON.stringify({ secrets: ["none"], ...config }));
  } catch (error) {
    throw error instanceof ConfigError ? wrong(error.message) : error;
  }
  return config;
}

async function startError(
  error: unknown,
  port: number,
  host: string | undefined,
  recordFile: string | undefined,
): Promise<unknown> {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === "open" && recordFile !== undefined)
    return new UsageError(`--record ${recordFile}: ${describe(error)}`);
  if (error instanceof ConfigError) return new UsageError(error.message);
  if (error instanceof InspectError) {
    const { host: inspected, port: at } = error.address;
    return listenError(error.cause, ["--inspect", inspected], ["--inspect", at]);
  }
  return code === undefined ? error : listenError(error, ["--host", host], ["--port", port]);
}

/** @param host and port, each after the name of its flag */
async function listenError(
  error: unknown,
  [hostFlag, host]: readonly [string, string | undefined],
  [portFlag, port]: readonly [string, number],
): Promise<unknown> {
  const { code } = error as NodeJS.ErrnoException;
  if (host !== undefined && code !== undefined && (await isUnknownAddress(host, code)))
    return new UsageError(`${hostFlag}: this machine has no address ${JSON.stringify(host)}`);
  const where = host === undefined ? `port ${port}` : `${host} port ${port}`;
  if (code === "EADDRINUSE")
    return new Error(
      `${where} is in use: stop the process that listens there, or choose another port with ` +
        portFlag,
    );
  if (code === "EACCES" && port < 1024)
    return new Error(`permission denied for ${where}: choose a port above 1023 with ${portFlag}`);
  return error;
}

/** @param code of the error from listening. For a name that it cannot resolve, Bun gives any. */
async function isUnknownAddress(host: string, code: string): Promise<boolean> {
  if (code === "EADDRNOTAVAIL" || code === "EINVAL") return true; // EINVAL: Deno
  return lookup(host).then(
    () => false,
    () => true,
  );
}

function withoutCredentials(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function version(): string {
  let manifest: string;
  try {
    manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  } catch (error) {
    throw new Error(
      "package.json of covenant-sidekick cannot be read: a bundle of this command has none; " +
        "install the package",
      { cause: error },
    );
  }
  return (JSON.parse(manifest) as { version: string }).version;
}
