// Runs a Worker in workerd, the runtime of Cloudflare Workers, on this machine: bundles it as wrangler would, writes a configuration
// into a folder of its own, and ends with it. No account, no network.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** The binary itself: a signal then reaches it, and not a script around it. */
const workerdPath = (createRequire(import.meta.url)("workerd") as { default: string }).default;

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** The module under test: SIDEKICK_MODULE, or the one the package ships. */
export const DEFAULT_MODULE =
  process.env["SIDEKICK_MODULE"] ?? join(root, "worker/module/sidekick.wasm");

export interface WorkerdOptions {
  /** The Worker's main file. Default: what is deployed. */
  readonly main?: string;
  /** The classes of its Durable Objects, by binding. */
  readonly classes?: Readonly<Record<string, string>>;
  /** Default: 127.0.0.1, any free port. */
  readonly host?: string;
  readonly port?: number;
  /** The Worker's variables. They go through the environment: secrets are written nowhere. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Allows `import unsafe from "workerd:unsafe"`. */
  readonly unsafe?: boolean;
  /** The folder in which it stores. Default: one that ends with it. */
  readonly storage?: string;
  /** Gets the Worker's log. Default: it is kept for `output`. */
  readonly onOutput?: (chunk: string) => void;
}

export interface Workerd {
  readonly port: number;
  readonly pid: number;
  /** What it has printed so far. */
  output(): string;
  /** Resolves when the process is gone, however it ended. */
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
  writeFileSync(join(folder, "config.capnp"), configuration(options, storage, Object.keys(env)));

  const args = ["serve", "--experimental", "--control-fd=3", "config.capnp"];
  const child = spawn(workerdPath, args, {
    cwd: folder,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const kill = () => child.kill("SIGKILL"); // its files are temporary, and it waits for open sockets otherwise
  process.once("exit", kill);
  let output = "";
  const onOutput = options.onOutput ?? ((chunk: string) => void (output += chunk));
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding("utf8").on("data", onOutput);
  const exited = once(child, "exit").then(([code, signal]) => {
    process.off("exit", kill);
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

/** One ES module; what the runtime provides, and the .wasm file, remain imports. */
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
          context.onResolve({ filter: /\.wasm$/ }, () => ({
            path: "../../tests/hosts/cloudflare/support/sidekick.wasm",
            external: true,
          })),
      },
    ],
  });
}

/** What is deployed says with which runtime. */
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
  const classes = Object.entries(options.classes ?? { SIDEKICK: "SidekickObject" });
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
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "sidekick", worker = .sidekick),
    (name = "storage", disk = (path = ${text(storage)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${text(`${options.host ?? "127.0.0.1"}:${options.port ?? 0}`)}, http = (), service = "sidekick")],
);

const sidekick :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "sidekick.wasm", wasm = embed "sidekick.wasm"),
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
  return await new Promise(() => {}); // it has ended, and whoever waits for that will say so
}
