// The oracle itself, briefly: equal conversations, a proof for each difference, and detection of
// our bugs. Long runs: run.ts.
import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, explain, type Options, shrink } from "./compare.ts";
import { all, type Difference } from "./differences.ts";
import { examples } from "./examples.ts";
import { mutant } from "./mutants.ts";
import { mutations } from "./mutations.ts";
import { generate } from "./script.ts";

const first = Number(process.env["SEED"] ?? 1);
const count = process.env["SEED"] === undefined ? 200 : 1;
console.log(`SEED=${first} and the next ${count - 1} seeds`);

test("random conversations have the same result in the reference and in our module, except for the intended differences", async (t) => {
  const met = new Map<Difference, number>();
  for (let seed = first; seed < first + count; ++seed) {
    const steps = generate(seed);
    if ((await compare(steps, { met })) === undefined) continue;
    const short = await shrink(steps);
    assert.fail(`SEED=${seed} differs:\n${explain(short, (await compare(short))!)}`);
  }
  t.diagnostic(all.map((name) => `${name} ${met.get(name) ?? 0}`).join(", "));
  if (count > 1)
    assert.deepEqual(
      all.filter((name) => !met.has(name)),
      [],
      "each difference occurs in random conversations",
    );
});

test("with forward_concurrent our module forwards as the reference does", async () => {
  const options: Options = {
    allowed: all.filter((name) => name !== "oneInFlight"),
    limits: { forward_concurrent: 1 },
  };
  for (let seed = first; seed < first + count / 3; ++seed) {
    const finding = await compare(generate(seed), options);
    assert.equal(finding, undefined, `SEED=${seed}`);
  }
});

test("one seed gives one conversation", () => {
  assert.deepEqual(generate(7), generate(7));
  assert.notDeepEqual(generate(7), generate(8));
});

for (const name of all) {
  test(`the difference ${name} exists, and is the only one in its example`, async () => {
    const steps = examples[name];
    const met = new Map<Difference, number>();
    assert.equal(
      await compare(steps, { met }),
      undefined,
      "expected equality with all differences allowed",
    );
    assert.ok(met.has(name), `met only ${[...met.keys()]}`);
    const finding = await compare(steps, { allowed: all.filter((other) => other !== name) });
    assert.equal(
      finding?.at,
      steps.length - 1,
      "expected the last step to differ without this difference",
    );
  });
}

async function isCaught(options: Options): Promise<void> {
  for (let seed = first; seed < first + 300; ++seed) {
    const steps = generate(seed);
    if ((await compare(steps, options)) === undefined) continue;
    assert.equal(await compare(steps), undefined, "expected equality without the bug");
    const short = await shrink(steps, options);
    assert.ok(
      (await compare(short, options)) !== undefined && short.length <= 30,
      `expected a short conversation, got ${short.length} of ${steps.length} steps`,
    );
    return;
  }
  assert.fail("expected a difference within 300 conversations");
}

for (const [name, deliver] of Object.entries(mutations)) {
  test(`detects a Sidekick that ${name}, and shrinks the conversation`, () =>
    isCaught({ deliver }));
}

// The module with other limits than those the reference is corrected to.
const otherRules = [
  { token_resume_ms: 0 },
  { token_resume_ms: 60_010 },
  { token_ttl_ms: 299_990 },
  { token_ttl_ms: 300_010 },
  { forward_timeout_ms: 30_010 },
  { forward_concurrent: 1 },
  { resource_bytes_max: 1025 },
  { token_bytes_max: 255 },
  { channel_bytes_max: 257 },
  { param_name_bytes_max: 255 },
  { param_value_bytes_max: 1025 },
];
for (const limits of otherRules) {
  test(`detects a module with ${JSON.stringify(limits)}`, () => isCaught({ limits }));
}

// The module with a bug inside: mutations of the core that the simulator detects, too
// (tests/sim/mutations).
for (const name of ["subscribed_only", "own_context", "forward_order", "one_holder"]) {
  test(`detects a module whose core has the bug ${name}, and shrinks the conversation`, async () =>
    isCaught({ module: await mutant(name) }));
}
