// The package's parts inside another program's bundle, which has no module/sidekick.wasm beside it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const run = promisify(execFile);
const worker = fileURLToPath(new URL("../../../worker", import.meta.url));
const source = (name: string) => JSON.stringify(join(worker, "src", name, "index.ts"));
const wasm = JSON.stringify(join(worker, "module/sidekick.wasm"));
/** The lines that users of esbuild add for CommonJS packages in an ES module. */
const banner = { js: 'import{createRequire as c}from"module";const require=c("/");' };

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sidekick-bundled-"));
});
after(() => rm(folder, { recursive: true }));

/** Bundles a program and runs the bundle alone in a folder. Returns its output. */
async function bundled(program: string, format: "esm" | "cjs", options = {}): Promise<string> {
  const entry = join(folder, "program.ts");
  await writeFile(entry, program);
  const outfile = join(folder, format === "esm" ? "bundle.mjs" : "bundle.cjs");
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format,
    loader: { ".wasm": "binary" },
    logLevel: "silent",
    nodePaths: [join(worker, "../node_modules")],
    ...options,
  });
  const alone = await mkdtemp(join(folder, "alone-"));
  await cp(outfile, join(alone, `run.${format === "esm" ? "mjs" : "cjs"}`));
  const { stdout } = await run(process.execPath, [`run.${format === "esm" ? "mjs" : "cjs"}`], {
    cwd: alone,
  });
  return stdout;
}

const LISTEN = `
  const client = sidekick.getConnectionFromClient();
  client.onMessage((message) => console.log(message.type));
  client.sendMessage({ type: "listen", resources: ["todo/1"] });`;

for (const format of ["esm", "cjs"] as const) {
  test(`a bundle (${format}) of covenant-sidekick/testing takes a module, and names bundling without one`, async () => {
    const given = await bundled(
      `import { InternalSidekick } from ${source("testing")};
       import { compileModuleSync } from ${source("module")};
       import wasm from ${wasm};
       const sidekick = new InternalSidekick({}, compileModuleSync(wasm)); ${LISTEN}`,
      format,
    );
    assert.equal(given, "listening\n");
    const missing = await bundled(
      `import { InternalSidekick } from ${source("testing")};
       try { new InternalSidekick(); } catch (error) { console.log(error.message); }`,
      format,
    );
    assert.match(
      missing,
      /^module\/sidekick\.wasm cannot be read: after bundling, pass the module/,
    );
  });
}

test("a bundle of covenant-sidekick/node takes a module, and names bundling without one", async () => {
  const program = (options: string) =>
    `import { startSidekick } from ${source("node")};
     import { compileModuleSync } from ${source("module")};
     import wasm from ${wasm};
     const options = { port: 0, host: "127.0.0.1", secrets: ["s"] };
     try {
       const sidekick = await startSidekick({ ...options, ${options} });
       console.log(sidekick.port > 0);
       await sidekick.close();
     } catch (error) { console.log(error.message); }`;
  assert.equal(
    await bundled(program("module: compileModuleSync(wasm)"), "esm", { banner }),
    "true\n",
  );
  assert.match(await bundled(program(""), "esm", { banner }), /after bundling, pass the module/);
});
