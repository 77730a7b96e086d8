// The deployment: wrangler accepts the package's wrangler.jsonc and bundles the files it names.
// Nothing is uploaded.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { root } from "../../../worker/workerd/workerd.ts";

const folder = mkdtempSync(join(tmpdir(), "sidekick-deploy-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("wrangler deploys the Worker, the classes of its objects and the modules", async () => {
  const env = {
    ...process.env,
    FORCE_COLOR: "0",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_LOG_PATH: folder,
  };
  const wrangler = join(root, "node_modules/.bin/wrangler");
  const { stdout } = await promisify(execFile)(
    wrangler,
    ["deploy", "--dry-run", "--outdir", join(folder, "out")],
    { cwd: join(root, "worker"), env },
  );
  assert.match(stdout, /env\.SIDEKICK \(SidekickObject\)/);
  assert.match(stdout, /env\.SIDEKICK_SHARD \(SidekickShard\)/);
  const files = readdirSync(join(folder, "out"));
  assert.match(files.join(" "), /sidekick\.wasm( |$)/);
  assert.match(files.join(" "), /shard\.wasm( |$)/);
  const script = readFileSync(join(folder, "out/index.js"), "utf8");
  const exported = /export \{([^}]*)\}/.exec(script)?.[1]?.replace(/\w+ as default/, "default");
  assert.deepEqual(exported?.match(/\w+/g), [
    "AppServer",
    "SidekickObject",
    "SidekickShard",
    "default",
  ]);
});
