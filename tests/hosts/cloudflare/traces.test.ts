// The golden traces, replayed by the module inside workerd: the same bytes as natively.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../../worker/workerd/workerd.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import { startSidekick } from "./support/sidekick.ts";

const folder = join(root, "tests/core/traces");
// Those of format 1 are frozen recordings of an earlier version.
const traces = ["", "format-1/"].flatMap((subfolder) =>
  readdirSync(join(folder, subfolder))
    .filter((name) => name.endsWith(".jsonl"))
    .map((name) => subfolder + name),
);
let sidekick: WorkerdSidekick;

before(async () => void (sidekick = await startSidekick()));
after(() => sidekick?.stop());

test("there are golden traces", () => assert.ok(traces.length > 20, `only ${traces}`));

for (const name of traces) {
  test(`${name} replays in workerd, byte for byte`, async () => {
    const { difference, inputs } = await sidekick.test("replay", readFileSync(join(folder, name)));
    assert.equal(
      difference,
      undefined,
      `${name}:${difference?.line}\nexpected ${difference?.expected}\nactual   ` +
        `${difference?.actual}`,
    );
    assert.ok(inputs > 0, `${inputs} inputs`);
  });
}
