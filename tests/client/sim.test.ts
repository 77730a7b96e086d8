// The simulation: random faults, and one fault at each frame of a short life. sim.ts runs more.
import assert from "node:assert/strict";
import { test } from "node:test";

import type { Fault, Mode } from "./life.ts";
import { live, MODES } from "./life.ts";

const SEEDS = 100;

for (const [name, mode] of Object.entries<Mode>(MODES)) {
  test(`${SEEDS} random lives break no guarantee: ${name}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { findings } = await live(seed, mode);
      assert.deepEqual(
        findings,
        [],
        `SEED=${seed} node --import tsx tests/client/sim.ts --mode ${name}`,
      );
    }
  });

  const kinds: Fault["kind"][] = ["cut", "silence", "crash"];
  if (mode.hasConstantPongs === true) kinds.push("sleep");
  for (const kind of kinds)
    test(`a ${kind} at each frame of a life breaks no guarantee: ${name}`, async () => {
      const { frames } = await live(1, mode, { fault: { frame: -1, kind } });
      assert.ok(frames > 30, `${frames} frames`);
      for (let frame = 0; frame < frames; frame++) {
        const { findings } = await live(1, mode, { fault: { frame, kind } });
        assert.deepEqual(findings, [], `at frame ${frame}`);
      }
    });
}
