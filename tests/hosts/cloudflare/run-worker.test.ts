// scripts/run worker as a process: its settings reach the Worker, and workerd does not outlive it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { root } from "../../../worker/workerd/workerd.ts";
import { environment } from "../shared/support/command.ts";
import { atEnd, closeEverything } from "../shared/support/left-open.ts";
import { eventually, request } from "../shared/support/sidekick.ts";

after(closeEverything);

function run(flags: string[], env: Record<string, string> = {}) {
  const script = join(root, "worker/workerd/run-worker.ts");
  const child = spawn(process.execPath, ["--import", "tsx", script, ...flags], {
    cwd: root,
    env: { ...environment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  atEnd(() => child.kill("SIGTERM"));
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exit = new Promise<number | null>((resolve) => child.on("exit", resolve));
  let isOver = false;
  void exit.then(() => (isOver = true));
  return {
    pid: child.pid!,
    exit,
    output: () => output,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    async port(): Promise<number> {
      await eventually(() => isOver || output.includes("Press Ctrl+C"));
      const port = /listening on http:\/\/\S*:(\d+)\n/.exec(output)?.[1];
      assert.ok(port !== undefined, output);
      return Number(port);
    },
  };
}

/** Not: one that has ended and whose parent has not asked for its status (Z). */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** The workerd that a process has started, and its folder. */
async function workerdOf(pid: number): Promise<{ pid: number; folder: string }> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  for (const child of children.trim().split(" ").map(Number)) {
    const words = (await readFile(`/proc/${child}/cmdline`, "utf8")).split("\0");
    if (words[0] === "sh") return { pid: Number(words[3]), folder: words[4]! };
  }
  throw new Error(`no process watches over workerd: ${children}`);
}

test("the secret for the metrics and the format of the log reach the Worker", async () => {
  const flags = ["--port", "0", "--secret", "s", "--auth-delay", "0", "--log-format", "json"];
  const worker = run(flags, { SIDEKICK_METRICS_SECRET: "for-metrics" });
  const port = await worker.port();
  const get = (path: string, secret: string) =>
    request(port, path, undefined, { method: "GET", secret });
  for (const secret of ["s", "for-metrics"])
    assert.match((await get("/metrics", secret)).body, /^sidekick_clients_opened_total 0$/m);
  assert.equal((await get("/metrics", "wrong")).status, 401);
  assert.equal((await get("/health", "for-metrics")).status, 401);
  await eventually(() => worker.output().includes("unauthorized"));
  const [line = ""] = worker.output().match(/^\{.*$/m) ?? [];
  const { time, ...fields } = JSON.parse(line) as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-.*Z$/);
  assert.deepEqual(fields, {
    level: "warn",
    message: "rejected a request",
    code: "unauthorized",
    status: 401,
  });
  worker.kill("SIGTERM");
  assert.equal(await worker.exit, 0);
});

test("workerd and its folder do not outlive a killed scripts/run worker", async () => {
  const worker = run(["--port", "0", "--secret", "s"]);
  const port = await worker.port();
  const workerd = await workerdOf(worker.pid);
  assert.deepEqual([isRunning(workerd.pid), existsSync(workerd.folder)], [true, true]);
  worker.kill("SIGKILL");
  await worker.exit;
  await eventually(() => !isRunning(workerd.pid) && !existsSync(workerd.folder));
  await assert.rejects(request(port, "/health", undefined, { method: "GET" }));
});

test("passes its settings on, and stops on SIGQUIT but not on SIGUSR1", async () => {
  const flags = ["--port", "0", "--secret", "one", "--secret", "two", "--auth-delay", "0"];
  const env = {
    SIDEKICK_ALLOWED_ORIGINS: "https://app.example.com",
    SIDEKICK_LIMITS: '{"http_body_bytes_max": 64}',
  };
  const worker = run(flags, env);
  const port = await worker.port();
  for (const [secret, body, status] of [
    ["one", '{"resources":[]}', 200],
    ["two", '{"resources":[]}', 200],
    ["three", '{"resources":[]}', 401],
    ["one", " ".repeat(65), 413],
  ] as const)
    assert.equal((await request(port, "/resources", body, { secret })).status, status);
  const headers = {
    Origin: "https://other.example.com",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  assert.equal((await request(port, "/socket", undefined, { method: "GET", headers })).status, 403);
  worker.kill("SIGUSR1");
  await eventually(() => worker.output().includes("ignored SIGUSR1"));
  assert.doesNotMatch(worker.output(), /[Dd]ebugger/);
  const workerd = await workerdOf(worker.pid);
  worker.kill("SIGQUIT");
  assert.equal(await worker.exit, 0, worker.output());
  assert.equal(isRunning(workerd.pid), false);
});

test("ignores the SIDEKICK_PORT of Kubernetes, and refuses what the other hosts refuse", async () => {
  const cases: [string[], RegExp][] = [
    [[], /a secret is required/],
    [["--secret", "-Xk3"], /--secret: expected a value; .* is written --secret=VALUE/],
    [["--secret", "schl\u00fcssel"], /a secret must be printable ASCII without spaces/],
    [["--secret", "s", "--server-secret", "a b"], /server secret: expected printable ASCII/],
    [["--secret", "a", "--secret", "b", "--secret", "c"], /the Worker accepts two at most/],
    [["--secret", "s", "--shards", "2"], /--gateways and --shards: set both or neither/],
    [
      ["--secret", "s", "--gateways", "257", "--shards", "2"],
      /--gateways \(SIDEKICK_GATEWAYS\): expected .* 256/,
    ],
  ];
  for (const [flags, expected] of cases) {
    const worker = run(flags, { SIDEKICK_PORT: "tcp://10.96.0.12:3001" });
    assert.equal(await worker.exit, 2, worker.output());
    await eventually(() => expected.test(worker.output()));
    if (!flags.includes("-Xk3"))
      assert.match(worker.output(), /ignored SIDEKICK_PORT: .*enableServiceLinks/);
  }
});
