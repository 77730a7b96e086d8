// Hibernation must be invisible. Each seeded conversation runs twice: once awake throughout, and
// once with the object, or the gateway and its shards, put to sleep between every two steps. While
// the app server owes an answer, the object is asked to sleep and must refuse until the answer
// arrives. What clients, the app server and POSTs see, and what is stored, must be equal, text for
// text.
//   SIDEKICK_SEEDS=N   how many conversations (default 12)      SIDEKICK_SEED=N   only this one
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { converse, hubOf, startRig } from "./support/conversation.ts";
import { closeEverything } from "./support/sidekick.ts";

const only = process.env["SIDEKICK_SEED"];
const seeds =
  only !== undefined
    ? [Number(only)]
    : Array.from({ length: Number(process.env["SIDEKICK_SEEDS"] ?? 12) }, (_, i) => i + 1);

after(closeEverything);

test("hibernation between every two steps changes nothing that a peer sees", () =>
  compare(seeds, {}));

test("hibernation of a gateway and its shards changes nothing that a peer sees", () =>
  compare(seeds.slice(0, seeds.length / 2 + 1), { gateways: 1, shards: 2 }));

/** A gateway that sleeps forgets topics that nobody listens to any more. */
const withoutTopics = (lines: readonly string[]) =>
  lines.map((line) => line.replace(/"topics":\d+,/, ""));

async function compare(
  seeds: readonly number[],
  scale: { readonly gateways?: number; readonly shards?: number },
): Promise<void> {
  const [awake, sleepy] = await Promise.all([startRig(seeds, scale), startRig(seeds, scale)]);
  const shards = Array.from({ length: scale.shards ?? 0 }, (_, i) => `:s${i}`);
  const compared = shards.length > 0 ? withoutTopics : (lines: readonly string[]) => lines;
  const all: string[] = [];
  let sleepsPutOff = 0;
  try {
    for (const seed of seeds) {
      let asleep: Promise<void> | undefined;
      let sleeps = 0;
      const evict = async (names: readonly string[]) => {
        for (const name of names) await sleepy.sidekick.evict("hibernate", name);
      };
      const sleep = async (hub: string, isForwarding: boolean) => {
        if (isForwarding && asleep === undefined) sleepsPutOff++;
        asleep ??= evict(["", ...shards].map((name) => hub + name));
        if (isForwarding) return;
        await asleep;
        asleep = undefined;
        sleeps++;
      };
      const [plain, slept] = await Promise.all([
        converse(awake, seed, async () => {}),
        converse(sleepy, seed, sleep),
      ]);
      assert.deepEqual(
        compared(slept),
        compared(plain),
        `seed ${seed}: SIDEKICK_SEED=${seed} repeats it`,
      );
      all.push(...plain);
      // Check the rig: one object really slept, the other did not.
      const constructed = await sleepy.sidekick.constructed(hubOf(seed));
      assert.ok(constructed >= sleeps, `${constructed} objects for ${sleeps} sleeps`);
      assert.equal(await awake.sidekick.constructed(hubOf(seed)), 1);
    }
    const isTold = /^rejected a request code=unauthorized status=401( times=\d+)?\n/gm;
    const logged = awake.sidekick.output() + sleepy.sidekick.output();
    assert.equal(logged.replace(isTold, ""), "");
  } finally {
    await Promise.all([awake.stop(), sleepy.stop()]);
  }
  const text = all.join("\n");
  assert.doesNotMatch(text, /too late for/);
  if (only !== undefined) return;
  // Check that the conversations cover what they are meant to cover.
  assert.ok(sleepsPutOff > seeds.length / 2, `${sleepsPutOff}`);
  if (shards.length > 0) return; // these are fewer, and of the same seeds
  for (const [what, expected] of Object.entries(SUBJECTS)) assert.match(text, expected, what);
}

const SUBJECTS: Record<string, RegExp> = {
  "a subscription ended": /gets \{ "type": "unsubscribed"/,
  "resources unlistened": /gets \{ "type": "unlistening", "resources": \["todo/,
  "a late answer": /refused at last/,
  "a forward that timed out": /did not answer within 300000 ms/,
  "a record in rows": /, [12] in rows/,
  "too many topics": /topics_per_client_max/,
  "a token in use": /register again: 409/,
  "an expired token": /invalid token/,
  "an oversized frame": /frame_bytes_max/,
  "no UTF-8": /found byte 0xff/,
  "a token that expires": /ms pass\n( {2}client .*\n)* {2}\{.*\n {2}stored: \[\],/,
  "a wrong bearer": /nonsense to \S+: 401/,
};
