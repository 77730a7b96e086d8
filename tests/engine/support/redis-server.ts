// A redis-server of its own for a test, on a free port, without files.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { atEnd, listen } from "../../hosts/shared/support/left-open.ts";

export interface RedisServer {
  readonly port: number;
  readonly process: ChildProcess;
  /** What redis-cli prints for a command, without the end of the line. */
  says(...command: string[]): Promise<string>;
}

/** Speaks only TLS if it gets a certificate. */
export async function startRedis(...flags: string[]): Promise<RedisServer> {
  const probe = createServer();
  const port = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  const folder = mkdtempSync(join(tmpdir(), "sidekick-redis-"));
  const isTls = flags.includes("--tls-cert-file");
  const ports = isTls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)];
  const child = spawn(
    "redis-server",
    [...ports, "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...flags],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  void ended.then(() => process.off("exit", kill));
  atEnd(async () => {
    kill();
    await ended;
    rmSync(folder, { recursive: true });
  });
  await new Promise<void>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Ready to accept connections")) resolve();
    });
    child.on("error", reject);
    void ended.then(() => reject(new Error(`redis-server ended: ${said}`)));
  });
  const says = async (...command: string[]) => {
    const { stdout } = await promisify(execFile)("redis-cli", ["-p", String(port), ...command]);
    return stdout.trimEnd();
  };
  return { port, process: child, says };
}
