// The npm package as its users get it: packed, installed into an empty folder, run with no toolchain but Node.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sidekick-package-"));
  await run("npm", ["pack", "--pack-destination", folder], { cwd: join(root, "worker") });
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  assert.ok(tarball, "npm pack left a tarball");
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ name: "empty", private: true, type: "module" }),
  );
  await run(
    "npm",
    [
      "install",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      join(folder, tarball),
      "@covenant-rpc/ion@2.1.0",
    ],
    { cwd: folder },
  );
});

after(() => rm(folder, { recursive: true, force: true }));

test("npx covenant-sidekick starts from the installed package, answers, and stops on SIGTERM", async (t) => {
  const sidekick = spawn("npx", ["covenant-sidekick", "--port", "0", "--host", "127.0.0.1"], {
    cwd: folder,
    env: { ...process.env, SIDEKICK_SECRET: "secret" },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true, // npx puts a shell between us: the signal goes to the group
  });
  t.after(() => sidekick.stdout.closed || process.kill(-sidekick.pid!, "SIGKILL")); // what a test that fails leaves
  let port: string | undefined;
  for await (const line of createInterface(sidekick.stdout)) {
    port = /http:\/\/[^:]+:(\d+)/.exec(line)?.[1];
    if (port !== undefined) break;
  }
  const health = await fetch(`http://127.0.0.1:${port}/health`);
  assert.deepEqual(await health.json(), { status: "ok" });
  process.kill(-sidekick.pid!, "SIGTERM");
  // Not "exit", which is npx's: the Sidekick may end after it. Its output does when all have ended.
  await once(sidekick, "close");
  await assert.rejects(fetch(`http://127.0.0.1:${port}/health`));
});

test("the package's files are its own: no tests, no sources of the core, no path of the machine that packed it", async () => {
  const files = (
    await readdir(join(folder, "node_modules/covenant-sidekick"), { recursive: true })
  ).filter((name) => !/^(bin|dist|dist\/.*|module)$/.test(name));
  assert.ok(files.includes("module/sidekick.wasm"));
  assert.deepEqual(
    files.filter(
      (name) =>
        !/^(package\.json|README\.md|LICENSE|wrangler\.jsonc|bin\/[a-z-]+\.js|module\/sidekick\.wasm)$/.test(
          name,
        ),
    ),
    [],
  );
  // As a path of its own: where the clone is in /api, an URL that goes on with /api/ is none, but for file:///api/.
  const path = `(^|//|[^A-Za-z0-9_.~/-])${root.replace(/[^A-Za-z0-9/]/g, "\\$&")}`;
  const { stdout } = await run("grep", [
    "-rlE",
    path,
    join(folder, "node_modules/covenant-sidekick"),
  ]).catch((error) => error);
  assert.equal(stdout, "");
});

test("what a program imports from the package is typed, and runs", async () => {
  await writeFile(
    join(folder, "program.ts"),
    `import { InternalSidekick } from "covenant-sidekick/testing";
     import { requireSidekickSecret } from "covenant-sidekick/guard";
     import { startSidekick } from "covenant-sidekick/node";
     import type { Action } from "covenant-sidekick";

     const sidekick = new InternalSidekick();
     const client = sidekick.getConnectionFromClient();
     const seen = new Promise((resolve) => client.onMessage(resolve));
     client.sendMessage({ type: "listen", resources: ["todo/1"] });
     console.log(JSON.stringify(await seen));

     const refusal: Response | null = requireSidekickSecret(new Request("http://app/?type=channel"), "secret");
     console.log(String(refusal?.status)); // as text: numbers may be coloured

     const server = await startSidekick({ port: 0, host: "127.0.0.1", secrets: ["s"] });
     const port: number = server.port;
     console.log(String(port > 0));
     await server.close();
     export type Unused = Action;
`,
  );
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const types = join(root, "node_modules/@types");
  await run(
    process.execPath,
    [
      tsc,
      "--strict",
      "--target",
      "es2022",
      "--lib",
      "es2022,dom",
      "--module",
      "nodenext",
      "--typeRoots",
      types,
      "--types",
      "node",
      "program.ts",
    ],
    { cwd: folder },
  ).catch((error: { stdout: string }) => assert.fail(error.stdout));
  const { stdout } = await run(process.execPath, ["program.js"], { cwd: folder });
  assert.deepEqual(stdout.trim().split("\n"), [
    '{"type":"listening","resources":["todo/1"]}',
    "401",
    "true",
  ]);
});
