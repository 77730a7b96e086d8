// Runs a Worker in workerd, the runtime of Cloudflare Workers, on this machine. It bundles the
// Worker as wrangler does, writes a configuration into a temporary folder, and stops workerd when
// this process ends. Needs no account and no network.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** The binary itself rather than a script around it, so that signals reach it. */
const workerdPath = (createRequire(import.meta.url)("workerd") as { default: string }).default;

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** The module under test: SIDEKICK_MODULE, or the package's module. */
export const DEFAULT_MODULE =
  process.env["SIDEKICK_MODULE"] ?? join(root, "worker/module/sidekick.wasm");
const SHARD_MODULE = join(root, "worker/module/shard.wasm");

export interface WorkerdOptions {
  /** The Worker's main file. Default: the deployed one. */
  readonly main?: string;
  /** The classes of its Durable Objects, by binding. */
  readonly classes?: Readonly<Record<string, string>>;
  /** Default: 127.0.0.1, any free port. */
  readonly host?: string;
  readonly port?: number;
  /**
   * The Worker's variables. They are passed through the environment, so that secrets are not
   * written to disk.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Allows `import unsafe from "workerd:unsafe"`. */
  readonly unsafe?: boolean;
  /** The storage folder. Default: a temporary one. */
  readonly storage?: string;
  /** Receives the Worker's log. Default: kept in `output`. */
  readonly onOutput?: (chunk: string) => void;
}

export interface Workerd {
  readonly port: number;
  readonly pid: number;
  /** The output so far. */
  output(): string;
  /** Resolves when the process has ended, however it ended. */
  readonly exited: Promise<string>;
  stop(): Promise<void>;
}

export async function startWorkerd(options: WorkerdOptions = {}): Promise<Workerd> {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-workerd-"));
  const env = Object.fromEntries(
    Object.entries(options.env ?? {}).filter((entry) => entry[1] !== undefined),
  ) as Record<string, string>;
  const storage = options.storage ?? join(folder, "storage");
  mkdirSync(storage, { recursive: true });
  await bundle(
    options.main ?? join(root, "worker/src/cloudflare/index.ts"),
    join(folder, "worker.js"),
  ).catch((error: unknown) => {
    rmSync(folder, { recursive: true });
    throw error;
  });
  cpSync(DEFAULT_MODULE, join(folder, "sidekick.wasm"));
  cpSync(SHARD_MODULE, join(folder, "shard.wasm"));
  writeFileSync(join(folder, "config.capnp"), configuration(options, storage, Object.keys(env)));

  const args = ["serve", "--experimental", "--control-fd=3", "config.capnp"];
  const child = spawn(workerdPath, args, {
    cwd: folder,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  // its files are temporary; otherwise it would wait for open sockets
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stopWatching = watch(child.pid!, folder);
  let output = "";
  const onOutput = options.onOutput ?? ((chunk: string) => void (output += chunk));
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding("utf8").on("data", onOutput);
  const exited = once(child, "exit").then(([code, signal]) => {
    process.off("exit", kill);
    stopWatching();
    rmSync(folder, { recursive: true, force: true });
    return `workerd exited with ${code === null ? signal : `code ${code}`}`;
  });
  const port = await Promise.race([listeningPort(child.stdio[3] as Readable), exited]);
  if (typeof port === "string") throw new Error(`${port}\n${output}`);
  return {
    port,
    pid: child.pid!,
    output: () => output,
    exited,
    stop: async () => {
      kill();
      await exited;
    },
  };
}

/**
 * If this process is killed, nothing else would stop workerd: another process waits for the end of
 * its pipe to this one, then kills workerd and removes its folder. Returns how to end that.
 */
function watch(pid: number, folder: string): () => void {
  const watchdog = spawn("sh", ["-c", 'read -r _; kill -9 "$0"; rm -rf "$1"', `${pid}`, folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true, // Ctrl+C goes to this process only, which stops workerd itself
  });
  watchdog.unref();
  (watchdog.stdin as Socket).unref();
  return () => watchdog.kill("SIGKILL");
}

/** Bundles one ES module; the runtime's own modules and the .wasm file remain imports. */
export async function bundle(main: string, outfile: string, minify = false): Promise<void> {
  await build({
    entryPoints: [main],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2022",
    minify,
    conditions: ["workerd", "worker"],
    external: ["cloudflare:*", "workerd:*"],
    logLevel: "error",
    plugins: [
      {
        name: "wasm",
        setup: (context) =>
          context.onResolve({ filter: /\.wasm$/ }, ({ path }) => ({
            path: `./${basename(path)}`,
            external: true,
          })),
      },
    ],
  });
}

const CLASSES = { SIDEKICK: "SidekickObject", SIDEKICK_SHARD: "SidekickShard" };

/** The deployed wrangler.jsonc names the runtime version. */
const wrangler = readFileSync(join(root, "worker/wrangler.jsonc"), "utf8");
const compatibilityDate = /"compatibility_date": "([-0-9]+)"/.exec(wrangler)![1]!;
const compatibilityFlags = JSON.parse(
  /"compatibility_flags": (\[.*?\])/.exec(wrangler)?.[1] ?? "[]",
) as string[];

function configuration(
  options: WorkerdOptions,
  storage: string,
  variables: readonly string[],
): string {
  const classes = Object.entries(options.classes ?? CLASSES);
  const bindings = [
    ...variables.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
    ...classes.map(
      ([binding, name]) => `(name = ${text(binding)}, durableObjectNamespace = ${text(name)})`,
    ),
  ];
  const flags = [...compatibilityFlags, ...(options.unsafe === true ? ["unsafe_module"] : [])];
  const namespaces = classes.map(
    ([, name]) => `(className = ${text(name)}, uniqueKey = ${text(name)}, enableSql = true)`,
  );
  const address = `${options.host ?? "127.0.0.1"}:${options.port ?? 0}`;
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "sidekick", worker = .sidekick),
    (name = "storage", disk = (path = ${text(storage)}, writable = true)),
    (name = "internet", network =
      (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${text(address)}, http = (), service = "sidekick")],
);

const sidekick :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "sidekick.wasm", wasm = embed "sidekick.wasm"),
    (name = "shard.wasm", wasm = embed "shard.wasm"),
  ],
  compatibilityDate = ${text(compatibilityDate)},
  compatibilityFlags = [${flags.map(text).join()}],
  bindings = [
    ${bindings.join(",\n    ")},
  ],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  durableObjectStorage = (localDisk = "storage"),
);
`;
}

function text(value: string): string {
  return JSON.stringify(value);
}

async function listeningPort(control: Readable): Promise<number> {
  for await (const line of createInterface({ input: control })) {
    const event = JSON.parse(line) as { event: string; port?: number };
    if (event.event === "listen" && event.port !== undefined) return event.port;
  }
  return await new Promise(() => {}); // it has ended; its exit handler reports that
}
