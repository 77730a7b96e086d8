// A Sidekick as users run it: a child process, accessed over the network. The environment chooses
// the host, so that one black-box suite serves all:
//   SIDEKICK_COMMAND   the command, split at spaces; default: node worker/dist/node/cli.js
// The command takes the flags of the CLI and prints http://HOST:PORT with its real port once it
// accepts connections.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { environment } from "../support/command.js";

export interface SidekickOptions {
  /** Default 0: any free port. */
  port?: number;
  secret: string;
  serverUrl: string;
  serverSecret: string;
  /** Additional flags, passed unchanged. */
  flags?: string[];
  /** In place of SIDEKICK_COMMAND. */
  command?: string;
}

export interface SidekickProcess {
  url: string;
  port: number;
  /** The output so far, both streams. */
  output(): string;
  /**
   * Ends the process and waits for its exit. Rejects with the output if it had exited by itself.
   */
  stop(): Promise<void>;
}

export const root = fileURLToPath(new URL("../../../..", import.meta.url));

// Only ends a test that has failed, on however slow a machine.
const startMsMax = 120_000;
const stopMsMax = 60_000;

export async function startSidekick(options: SidekickOptions): Promise<SidekickProcess> {
  const words =
    options.command ?? process.env["SIDEKICK_COMMAND"] ?? "node worker/dist/node/cli.js";
  const [command, ...args] = words.split(" ").filter(Boolean);
  args.push("--port", String(options.port ?? 0), "--secret", options.secret);
  args.push(
    "--server-url",
    options.serverUrl,
    "--server-secret",
    options.serverSecret,
    "--auth-delay",
    "0",
    ...(options.flags ?? []),
  );

  const child = spawn(command!, args, {
    cwd: root,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const described = () =>
    `${command} ${args[0] ?? ""}\n--- its output ---\n${output || "(none)"}\n---`;
  const exited = once(child, "exit").then(
    ([code, signal]) => `exited with ${code === null ? signal : `code ${code}`}`,
  );
  exited.catch(() => undefined); // a spawn error rejects it; it is reported below

  const address = await new Promise<URL>((resolve, reject) => {
    const fail = (why: string) => {
      child.kill("SIGKILL");
      reject(
        new Error(
          `the Sidekick did not start: ${why}: ${described()}\nHas everything been built? ` +
            "(scripts/build)",
        ),
      );
    };
    const timer = setTimeout(() => fail(`no address printed within ${startMsMax} ms`), startMsMax);
    const onOutput = (chunk: Buffer) => {
      output += chunk.toString();
      const printed = /https?:\/\/[^\s/]+:\d+/.exec(output.slice(0, output.lastIndexOf("\n") + 1));
      if (!printed) return;
      clearTimeout(timer);
      resolve(new URL(printed[0]));
    };
    child.stdout.on("data", onOutput);
    child.stderr.on("data", onOutput);
    child.on("error", (error) => {
      clearTimeout(timer);
      fail(error.message);
    });
    exited.then(
      (how) => {
        clearTimeout(timer);
        fail(how);
      },
      () => undefined,
    );
  });

  // The printed host may be a wildcard; the tests use the loopback address.
  const port = Number(address.port);
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    port,
    output: () => output,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(
          `the Sidekick exited before the test ended: it ${await exited}: ${described()}`,
        );
      }
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopMsMax);
      await exited;
      clearTimeout(timer);
    },
  };
}
