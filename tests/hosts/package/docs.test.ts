// docs/getting-started.md and docs/write-a-host.md: what they show is compiled and run.
import assert from "node:assert/strict";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  appFolder,
  bun,
  cleanUp,
  deno,
  npmInstall,
  root,
  run,
  start,
  tarball,
  tsx,
} from "./support/installed.ts";

const page = (name: string) => readFile(join(root, "docs", name), "utf8");
const node = [process.execPath, "--import", tsx];
/** The npm client needs Node 22. */
const canRunClient = Number(process.versions.node.split(".")[0]) >= 22;
let folder: string;
let appPort: number;
let sidekickPort: number;

before(async () => {
  folder = await appFolder(npmInstall(await tarball()));
  // In the versions that the workspace pins, without asking the registry.
  for (const name of ["@covenant-rpc", "@hono", "@types", "hono", "undici-types", "zod"]) {
    await symlink(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  [appPort, sidekickPort] = [await freePort(), await freePort()];
  const shown = [...(await page("getting-started.md")).matchAll(/```ts\n\/\/ (\S+)\n(.*?)```/gs)];
  for (const [, name = "", text = ""] of shown) {
    const ours = text
      .replaceAll("localhost:3000", `localhost:${appPort}`)
      .replaceAll("localhost:3001", `localhost:${sidekickPort}`);
    await writeFile(join(folder, name), ours);
  }
  assert.deepEqual(
    shown.map(([, name]) => name),
    ["covenant.ts", "app.ts", "server-hono.ts", "server-bun.ts", "client.ts"],
  );
});
after(cleanUp);

/** Below the ports that the system gives to other sockets: it stays free until it is used. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 10000);
    const server = createServer().listen(port);
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

test("the files of getting-started.md compile", async () => {
  // All of Bun's types that they need.
  const served = "{ port: number; routes: Record<string, { POST(request: Request): unknown }> }";
  await writeFile(
    join(folder, "bun.d.ts"),
    `declare const Bun: { serve(options: ${served}): { port: number } };`,
  );
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const flags = ["--strict", "--noEmit", "--skipLibCheck", "--target", "es2022"];
  const modules = ["--module", "esnext", "--moduleResolution", "bundler", "--types", "node"];
  const files = ["server-hono.ts", "server-bun.ts", "client.ts", "bun.d.ts"];
  await run(process.execPath, [tsc, ...flags, ...modules, ...files], { cwd: folder }).catch(
    (error: { stdout: string }) => assert.fail(error.stdout),
  );
});

async function bundle(name: string): Promise<string> {
  const flags = ["--bundle", "--platform=node", "--format=esm", `--outfile=out/${name}.js`];
  await run(join(root, "node_modules/.bin/esbuild"), [`${name}.ts`, ...flags], { cwd: folder });
  return `out/${name}.js`;
}

const setups = {
  "Node with Hono": async () => ({
    sidekick: ["npx", "sidekick-serve"],
    server: [...node, "server-hono.ts"],
    client: [...(canRunClient ? node : [bun]), "client.ts"],
  }),
  Bun: async () => ({
    sidekick: ["bunx", "--bun", "sidekick-serve"],
    server: [bun, "server-bun.ts"],
    client: [bun, "client.ts"],
  }),
  Deno: async () => ({
    sidekick: [deno, "run", "-A", "npm:covenant-sidekick/sidekick-serve"],
    server: [deno, "run", "-A", await bundle("server-hono")],
    client: [deno, "run", "-A", await bundle("client")],
  }),
};
for (const [name, commands] of Object.entries(setups)) {
  test(`the app of getting-started.md runs on ${name}`, async () => {
    const { sidekick, server, client } = await commands();
    const secrets = { SIDEKICK_SECRET: "one", SIDEKICK_SERVER_SECRET: "two" };
    const url = `http://localhost:${appPort}/api/covenant`;
    const started = [
      start(folder, [...sidekick, "--port", String(sidekickPort), "--server-url", url], secrets),
      start(folder, server, { ...secrets, PORT: String(appPort) }),
    ];
    await started[0]!.until(/Press Ctrl\+C/);
    await started[1]!.until(/app server: /);
    const { stdout } = await run(client[0]!, client.slice(1), { cwd: folder });
    assert.match(stdout, /^todos \[/m);
    assert.match(stdout, /^ada: hello$/m);
    await Promise.all(started.map((process) => process.stop()));
  });
}

// covenant.test.ts talks to this host, too: `scripts/test package`.
test("write-a-host.md shows the host that is tested, in as many lines as it says", async () => {
  const text = await page("write-a-host.md");
  const files = ["host.ts", "main.ts"].map((name) => page(`examples/typescript/${name}`));
  for (const file of await Promise.all(files)) assert.ok(text.includes(`\`\`\`ts\n${file}\`\`\``));
  const host = await files[0]!;
  const lines = host.split("\n").filter((line) => !/^\s*(\/\/.*)?$/.test(line));
  assert.match(text, new RegExp(`in ${lines.length} lines of TypeScript`));
});
