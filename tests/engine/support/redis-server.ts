// A redis-server of its own for a test, on a free port, without files.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { atEnd, listen } from "../../hosts/shared/support/left-open.ts";

export interface RedisServer {
  readonly port: number;
  /** The one that runs now. */
  readonly process: ChildProcess;
  /** Returns the output of redis-cli for a command, without the end of the line. */
  says(...command: string[]): Promise<string>;
  /** Ends it without a chance to write anything. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, empty, on the same port. */
  restart(): Promise<void>;
}

/** Speaks only TLS if it gets a certificate. */
export async function startRedis(...flags: string[]): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "sidekick-redis-"));
  const isTls = flags.includes("--tls-cert-file");
  const ports = isTls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)];
  const all = [...ports, "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...flags];
  let running = await start(all);
  atEnd(async () => {
    await running.kill();
    rmSync(folder, { recursive: true });
  });
  return {
    port,
    get process() {
      return running.process;
    },
    async says(...command) {
      const { stdout } = await promisify(execFile)("redis-cli", ["-p", String(port), ...command]);
      return stdout.trimEnd();
    },
    kill: () => running.kill(),
    async restart() {
      running = await start(all);
    },
  };
}

/** A Redis Sentinel, on the port that it resolves with. */
export async function startSentinel(): Promise<number> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "sidekick-redis-"));
  writeFileSync(join(folder, "sentinel.conf"), `port ${port}\n`);
  const sentinel = await start([join(folder, "sentinel.conf"), "--sentinel"]);
  atEnd(async () => {
    await sentinel.kill();
    rmSync(folder, { recursive: true });
  });
  return port;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  const port = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function start(flags: string[]) {
  const child = spawn("redis-server", flags, { stdio: ["ignore", "pipe", "inherit"] });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  void ended.then(() => process.off("exit", end));
  await new Promise<void>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (/Ready to accept connections|Sentinel ID is/.test(said)) resolve();
    });
    child.on("error", reject);
    void ended.then(() => reject(new Error(`redis-server ended: ${said}`)));
  });
  return {
    process: child,
    kill() {
      end();
      return ended;
    },
  };
}
