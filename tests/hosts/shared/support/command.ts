// A host in a child process: SIDEKICK_COMMAND, split at spaces, takes the flags of sidekick-serve.
// For traps on demand it must be a test build (worker/native/testing.hpp).
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestOptions, TestSidekick } from "./sidekick.ts";

/** The words of SIDEKICK_COMMAND. Undefined: the Node host. */
export const command: readonly string[] | undefined = process.env["SIDEKICK_COMMAND"]
  ?.split(" ")
  .filter(Boolean);

/** Which host is tested: `deno` and `bun` run the Node host. */
export const hostName: "node" | "bun" | "deno" | "native" | "worker" =
  command === undefined
    ? "node"
    : command.some((word) => word.includes("run-worker"))
      ? "worker"
      : ((["bun", "deno"] as const).find((name) =>
          command.some((word) => new RegExp(`(^|/)${name}$`).test(word)),
        ) ?? "native");

/** How many gateways of the Worker take sockets, each with its own clients_max. */
export const gateways = Number(/ --gateways (\d+)/.exec(command?.join(" ") ?? "")?.[1] ?? 1);

/** This process's environment, without variables that would configure a Sidekick. */
export function environment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("SIDEKICK_")),
  );
}

/** The address of the inspector in what a host prints when it starts. */
export function inspectorOf(printed: string): string | undefined {
  return /^Inspector: (\S+)$/m.exec(printed)?.[1];
}

/** @param words a command that replaces SIDEKICK_COMMAND */
export async function startCommand(
  options: TestOptions,
  words = command ?? [],
): Promise<TestSidekick> {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const config = join(folder, "config.json");
  await writeFile(config, JSON.stringify({ secrets: options.secrets, ...options.config }), {
    mode: 0o600,
  });
  const flags = [
    "--port",
    String(options.port ?? 0),
    "--host",
    options.host ?? "127.0.0.1",
    "--config",
    config,
    ...(hostName === "worker" ? [] : ["--log-level", "debug"]),
  ];
  if (options.serverUrl !== undefined) flags.push("--server-url", options.serverUrl);
  if (options.serverSecret !== undefined) flags.push("--server-secret", options.serverSecret);
  if (options.serverIdleSeconds !== undefined)
    flags.push("--server-idle-timeout", String(options.serverIdleSeconds));
  if (options.recordFile !== undefined) flags.push("--record", options.recordFile);
  if (options.inspect !== undefined) {
    const { host, port } = options.inspect;
    flags.push("--inspect", `${host}:${port}`);
  }
  const tests = {
    ...(options.pingSeconds !== undefined && {
      SIDEKICK_TEST_PING_SECONDS: String(options.pingSeconds),
    }),
    ...(options.traps !== undefined && {
      SIDEKICK_TEST_FAULTS: options.traps.restore ? "trap restore" : "trap",
    }),
  };
  const [file = "", ...first] = words;
  const child = spawn(file, [...first, ...flags], {
    env: { ...environment(), ...tests },
    stdio: ["ignore", "pipe", "pipe"],
  });

  const kill = () => child.kill("SIGKILL"); // it must not outlive an aborted test
  process.once("exit", kill);

  let printed = "";
  let logged = "";
  const logLines: string[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => void process.off("exit", kill));
    child.on("close", () => void rm(folder, { recursive: true }).then(resolve, reject));
  });
  child.stderr.on("data", (chunk: Buffer) => {
    const lines = (logged + chunk.toString()).split(/(?<=\n)/);
    logged = lines.at(-1)?.endsWith("\n") ? "" : (lines.pop() ?? "");
    logLines.push(...lines);
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes("Press Ctrl+C"))
        resolve(Number(/listening on http\S*:(\d+)\n/.exec(printed)?.[1]));
    });
    ended.then(
      () => reject(new Error(`it did not start: ${printed}${logLines.join("")}${logged}`)),
      reject,
    );
  });
  let closes = 0;
  // Without this, a test whose server has crashed waits for its answer for ever.
  child.on("close", (status, signal) => {
    if (closes > 0 || status === 0 || signal === "SIGKILL") return;
    const output = `${printed}${logLines.join("")}${logged}`;
    throw new Error(`the host ended with ${signal ?? `status ${status}`}:\n${output}`);
  });
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const stopping = async () => {
    while (isRunning() && !logLines.some((line) => line.includes("shutting down")))
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  return {
    port,
    inspectorUrl: inspectorOf(printed),
    logLines,
    close() {
      const end = () => isRunning() && child.kill("SIGTERM");
      // A signal that arrives while the same one is pending is lost.
      if (closes++ === 0) end();
      else void stopping().then(end);
      return ended;
    },
    stopping,
    atOnce(act) {
      child.kill("SIGSTOP");
      act();
      child.kill("SIGCONT");
    },
  };
}
