// The three hosts as they run live, each recording, behind one interface. Owns no expectation and
// no traffic.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startSidekick } from "../cloudflare/support/sidekick.ts";
import { startCommand } from "../shared/support/command.ts";
import { request, SECRET } from "../shared/support/sidekick.ts";

export const serverSecret = "server-secret-of-the-recordings";

export interface HostOptions {
  readonly serverUrl: string;
  /** By the names of limits.def. */
  readonly limits?: Readonly<Record<string, number>>;
  /** An empty folder for its files. */
  readonly folder: string;
}

export interface LiveHost {
  readonly port: number;
  /**
   * Closes all sockets and starts again on the same port: another process, or a Durable Object that
   * was moved.
   */
  restart(): Promise<void>;
  /**
   * Something that happens while the host is idle and closes no socket: the Worker's object loses
   * its memory.
   */
  sleep(): Promise<void>;
  /** Ends the host. Returns the file with everything it recorded. */
  stop(): Promise<string>;
}

export interface Host {
  readonly name: "node" | "worker" | "wasmtime";
  /** Whether the host knows how much a client has not read yet. */
  readonly seesLag: boolean;
  start(options: HostOptions): Promise<LiveHost>;
}

export const hosts: readonly Host[] = [
  {
    name: "node",
    seesLag: true,
    start: (options) => startProcess([process.execPath, "worker/dist/node/cli.js"], options),
  },
  { name: "worker", seesLag: false, start: startWorker },
  {
    name: "wasmtime",
    seesLag: true,
    start: (options) =>
      startProcess(
        [
          "build/native/sidekick-server",
          "--runtime",
          "wasmtime",
          "--data",
          join(options.folder, "data"),
        ],
        options,
      ),
  },
];

const left = new Set<() => unknown>();

/** For `after`: ends processes that a failed test has left. */
export async function endHosts(): Promise<void> {
  await Promise.all([...left].map((end) => end()));
}

async function startProcess(
  command: readonly string[],
  { serverUrl, limits, folder }: HostOptions,
): Promise<LiveHost> {
  const recordFile = join(folder, "recording.jsonl");
  const config = { auth_failure_delay_ms: 0, ...limits };
  const start = (port: number) =>
    startCommand({ secrets: [SECRET], serverUrl, serverSecret, config, recordFile, port }, command);
  let process = await start(0);
  const end = () => Promise.all([process.close(), process.close()]); // the second time at once
  left.add(end);
  return {
    port: process.port,
    async restart() {
      await process.close();
      process = await start(process.port);
    },
    sleep: async () => {},
    async stop() {
      await process.close();
      left.delete(end);
      return recordFile;
    },
  };
}

async function startWorker({ serverUrl, limits = {}, folder }: HostOptions): Promise<LiveHost> {
  // So large that no new recording starts meanwhile. Each input costs a row, and workerd waits for
  // the disk at each: in a memory-backed folder, if there is one, a load run takes seconds instead
  // of a minute.
  const env = {
    SIDEKICK_SERVER_URL: serverUrl,
    SIDEKICK_SERVER_SECRET: serverSecret,
    SIDEKICK_TRACE_BYTES: String(1 << 30),
  };
  const storage = await mkdtemp(
    join(existsSync("/dev/shm") ? "/dev/shm" : folder, "sidekick-worker-"),
  );
  const sidekick = await startSidekick({ env, limits, storage });
  const end = async () => {
    await sidekick.stop();
    await rm(storage, { recursive: true, force: true });
  };
  left.add(end);
  return {
    port: sidekick.port,
    restart: () => sidekick.evict("close"),
    sleep: () => sidekick.evict("hibernate"),
    async stop() {
      const { status, body } = await request(sidekick.port, "/trace", undefined, { method: "GET" });
      await end();
      left.delete(end);
      if (status !== 200) throw new Error(`GET /trace: ${status} ${body}`);
      const recordFile = join(folder, "recording.jsonl");
      await writeFile(recordFile, body);
      return recordFile;
    },
  };
}
