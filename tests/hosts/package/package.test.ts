// The npm package: its files, its commands beside @covenant-rpc/server, its types.
import assert from "node:assert/strict";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import {
  appFolder,
  bun,
  cleanUp,
  deno,
  npmInstall,
  pinned,
  root,
  run,
  start,
  tarball,
} from "./support/installed.ts";

let folder: string;
before(async () => {
  folder = await appFolder(npmInstall(await tarball(), pinned("@covenant-rpc/ion")));
});
after(cleanUp);

const server = pinned("@covenant-rpc/server");
for (const [order, install] of Object.entries({
  "the Sidekick, then the server": async () => [npmInstall(await tarball()), npmInstall(server)],
  "the server, then the Sidekick": async () => [npmInstall(server), npmInstall(await tarball())],
  "both by Bun": async () => [[bun, "add", await tarball(), server]],
})) {
  test(`sidekick-serve runs by npx, bunx and Deno beside @covenant-rpc/server (installed: ${order})`, async () => {
    const app = await appFolder(...(await install()));
    for (const runner of [
      ["npx"],
      ["bunx"],
      ["bunx", "--bun"],
      [deno, "run", "-A", "npm:covenant-sidekick/sidekick-serve"],
    ]) {
      const command = runner.length > 2 ? runner : [...runner, "sidekick-serve"];
      const flags = ["--port", "0", "--host", "127.0.0.1"];
      const sidekick = start(app, [...command, ...flags], { SIDEKICK_SECRET: "secret" });
      const [, url] = await sidekick.until(/(http:\/\/[^:]+:\d+)\n/);
      const health = await fetch(`${url}/health`);
      assert.deepEqual(await health.json(), { status: "ok" });
      await sidekick.stop();
      await assert.rejects(fetch(`${url}/health`));
    }
  });
}

test("the tarball holds the package's own files, without tests or paths of this machine", async () => {
  const installed = join(folder, "node_modules/covenant-sidekick");
  const files = await readdir(installed, { recursive: true });
  assert.deepEqual(
    files.filter((name) => !/^dist(\/.*\.(js|d\.ts)|\/[a-z]+)?$/.test(name)).sort(),
    [
      "LICENSE",
      "README.md",
      "bin",
      "bin/covenant-sidekick-replay.js",
      "bin/covenant-sidekick.js",
      "bin/sidekick-serve.js",
      "dist/inspector.html",
      "docs",
      "docs/client.md",
      "docs/protocol.md",
      "engine",
      "engine/beat.lua",
      "engine/changed.lua",
      "engine/claim.lua",
      "engine/common.lua",
      "engine/erase.lua",
      "engine/history.lua",
      "engine/message.lua",
      "engine/reclaim.lua",
      "engine/register.lua",
      "engine/release.lua",
      "engine/sync.lua",
      "engine/update.lua",
      "module",
      "module/shard.wasm",
      "module/sidekick.wasm",
      "package.json",
      "wrangler.jsonc",
    ],
  );
  for (const name of ["LICENSE", "docs/client.md", "docs/protocol.md"]) {
    assert.equal(
      await readFile(join(installed, name), "utf8"),
      await readFile(join(root, name), "utf8"),
    );
  }
  // Only as a whole path: in a clone at /api, a URL with /api/ in it does not count.
  const path = `(^|//|[^A-Za-z0-9_.~/-])${root.replace(/[^A-Za-z0-9/]/g, "$&")}`;
  const { stdout } = await run("grep", ["-rlE", path, installed]).catch((error) => error);
  assert.equal(stdout, "");
});

test("npm pack refuses a package without its module, and names the command that builds it", async () => {
  const unbuilt = await appFolder();
  for (const name of ["package.json", "prepack.sh"])
    await cp(join(root, "worker", name), join(unbuilt, name));
  for (const name of ["node/cli.js", "cloudflare/index.js", "inspector.html"])
    await cp(join(root, "worker/dist", name), join(unbuilt, "dist", name));
  await assert.rejects(run("npm", ["pack"], { cwd: unbuilt }), {
    stderr: /^npm pack: module\/sidekick\.wasm is missing: run scripts\/build module$/m,
  });
});

test("publint and attw find nothing wrong with the tarball", async () => {
  const tool = (name: string) => join(root, "node_modules/.bin", name);
  const said = (error: { stdout: string }) => assert.fail(error.stdout);
  await run(tool("publint"), ["run", await tarball(), "--strict"]).catch(said);
  // Its profile looks for types of the .wasm file, which has none.
  const flags = ["--profile", "esm-only", "--exclude-entrypoints", "./sidekick.wasm"];
  await run(tool("attw"), [await tarball(), ...flags]).catch(said);
});

// 6.25 KiB before several Sidekicks could share an engine: its failures cost 61 bytes.
test("the client takes at most 6.3 KiB of a page, gzipped, without ION", async () => {
  const { outputFiles } = await build({
    ...{ bundle: true, minify: true, format: "esm", platform: "browser", target: "es2022" },
    ...{ external: ["@covenant-rpc/ion"], write: false },
    entryPoints: [join(folder, "node_modules/covenant-sidekick/dist/client/index.js")],
  });
  const bytes = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
  assert.ok(bytes <= 6.3 * 1024, `${bytes} bytes`);
  console.log(`covenant-sidekick/client: ${bytes} bytes gzipped`);
});

const compile = (lib: string, ...flags: string[]) =>
  run(
    process.execPath,
    [
      join(root, "node_modules/typescript/bin/tsc"),
      ...["--strict", "--target", "es2022", "--lib", lib, "--module", "nodenext"],
      ...["--typeRoots", join(root, "node_modules/@types"), "--types", "node", ...flags],
    ],
    { cwd: folder },
  ).catch((error: { stdout: string }) => assert.fail(error.stdout));

test("a program that imports the package is typed, and runs", async () => {
  await writeFile(
    join(folder, "program.ts"),
    `import { InternalSidekick } from "covenant-sidekick/testing";
     import { requireSidekickSecret } from "covenant-sidekick/guard";
     import { connectSidekick, SendError, withAcks } from "covenant-sidekick/client";
     import { sidekickServer } from "covenant-sidekick/server";
     import { startSidekick } from "covenant-sidekick/node";
     import { compileModuleSync, Hub } from "covenant-sidekick/module";
     import type { Action } from "covenant-sidekick";

     const sidekick = new InternalSidekick();
     const client = sidekick.getConnectionFromClient();
     const seen = new Promise((resolve) => client.onMessage(resolve));
     client.sendMessage({ type: "listen", resources: ["todo/1"] });
     console.log(JSON.stringify(await seen));

     const request = new Request("http://app/?type=channel");
     const refusal: Response | null = requireSidekickSecret(request, "secret");
     console.log(String(refusal?.status)); // as text: numbers may be coloured

     const server = await startSidekick({ port: 0, host: "127.0.0.1", secrets: ["s"] });
     const port: number = server.port;
     console.log(String(port > 0));
     const connection = connectSidekick(\`http://127.0.0.1:\${port}\`, { enabled: false });
     withAcks({ send: (): unknown => null }, connection);
     const refused = await connection.send("chat", {}, "token", 1).catch((error: unknown) => error);
     console.log(refused instanceof SendError && refused.code);
     const app = sidekickServer(\`http://127.0.0.1:\${port}\`, "s");
     const updated: Error | null = await app.update([]);
     console.log(String(updated));
     await server.close();
     export const create = (bytes: Uint8Array): Hub => Hub.create(compileModuleSync(bytes), "{}");
     export type Unused = Action;
`,
  );
  await compile("es2022,dom", "program.ts");
  const { stdout } = await run(process.execPath, ["program.js"], { cwd: folder });
  assert.deepEqual(stdout.trim().split("\n"), [
    '{"type":"listening","resources":["todo/1"]}',
    "401",
    "true",
    "closed",
    "null",
  ]);
  // Also without the library DOM, and with all declarations checked, which is the default.
  await compile("es2022", "--skipLibCheck", "false", "--noEmit", "program.ts");
});
