// Hibernation must be invisible. Each seeded conversation runs twice: once with one object that is
// awake throughout, and once with objects that are put to sleep between every two steps. While the
// app server owes an answer, an object is asked to sleep and must refuse until the answer arrives.
// What clients, the app server and POSTs see must be equal, text for text. Of one object, also what
// it counts and stores.
//   SIDEKICK_SEEDS=N   how many conversations (default 12)      SIDEKICK_SEED=N   only this one
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { converse } from "./support/conversation.ts";
import type { Scale } from "./support/rig.ts";
import { gatewaysOf, hubOf, shardsOf, startRig } from "./support/rig.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import { Busy, closeEverything } from "./support/sidekick.ts";
import type { Step } from "./support/steps.ts";
import { inFreeOrder, linesOf } from "./support/steps.ts";

const only = process.env["SIDEKICK_SEED"];
const seeds =
  only !== undefined
    ? [Number(only)]
    : Array.from({ length: Number(process.env["SIDEKICK_SEEDS"] ?? 12) }, (_, i) => i + 1);
const fewer = seeds.slice(0, Math.ceil(seeds.length / 3));

after(closeEverything);

test("hibernation between every two steps changes nothing that a peer sees", async () => {
  const { text, putOff } = await compare(seeds, undefined, (hub) => [hub]);
  if (only !== undefined) return;
  assert.ok(putOff > seeds.length / 2, `${putOff}`);
  for (const [what, expected] of Object.entries(SUBJECTS)) assert.match(text, expected, what);
});

const SCALE = { gateways: 3, shards: 4 };

for (const [who, sleepers] of [
  ["gateways", (hub) => gatewaysOf(hub, SCALE)],
  ["shards", (hub) => shardsOf(hub, SCALE)],
  ["gateways and shards", (hub) => [...gatewaysOf(hub, SCALE), ...shardsOf(hub, SCALE)]],
] as readonly [string, (hub: string) => readonly string[]][])
  test(`peers of sleeping ${who} see what they see with one object that is awake`, async () => {
    await compare(fewer, SCALE, sleepers);
  });

/** @returns what was seen with one object, and how often the app server kept one awake */
async function compare(
  seeds: readonly number[],
  scale: Scale | undefined,
  sleepers: (hub: string) => readonly string[],
): Promise<{ text: string; putOff: number }> {
  const [awake, sleepy] = await Promise.all([startRig(seeds), startRig(seeds, scale)]);
  const compared = (steps: readonly Step[]) =>
    scale === undefined ? steps.map(linesOf) : steps.map(inFreeOrder);
  const all: string[] = [];
  let putOff = 0;
  try {
    for (const seed of seeds) {
      const night = new Night(sleepy.sidekick, sleepers(hubOf(seed)));
      const rules = { mustStay: scale !== undefined };
      const [plain, slept] = await Promise.all([
        converse(awake, seed, async () => {}, rules),
        converse(sleepy, seed, (owed) => night.fall(owed), rules),
      ]);
      const repeat = `SIDEKICK_SEED=${seed} repeats it`;
      assert.deepEqual(compared(slept).flat(), compared(plain).flat(), `seed ${seed}: ${repeat}`);
      all.push(...plain.flatMap(linesOf));
      // Check the rig: these objects really slept, the other did not.
      await night.check();
      putOff += night.putOff;
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
  return { text, putOff };
}

/** Puts objects to sleep. */
class Night {
  /** How often an object had to wait for the app server. */
  putOff = 0;
  readonly #sidekick: WorkerdSidekick;
  readonly #names: readonly string[];
  readonly #asked = new Map<string, Promise<void>>();
  readonly #sleeps = new Map<string, number>();
  #owed: string | undefined;

  constructor(sidekick: WorkerdSidekick, names: readonly string[]) {
    this.#sidekick = sidekick;
    this.#names = names;
  }

  /** @param owed its answer is not there yet: it is only asked */
  async fall(owed: string | undefined): Promise<void> {
    this.#owed = owed;
    await Promise.all(this.#names.map((name) => this.#put(name)));
  }

  /** The last sleep is not followed by an event. */
  async check(): Promise<void> {
    for (const [name, sleeps] of this.#sleeps) {
      const constructed = await this.#sidekick.constructed(name);
      assert.ok(constructed >= sleeps - 1, `${name}: ${constructed} objects, ${sleeps} sleeps`);
    }
  }

  async #put(name: string): Promise<void> {
    const isOwed = name === this.#owed;
    if (isOwed && !this.#asked.has(name)) this.putOff++;
    const asked = this.#asked.get(name) ?? this.#evict(name);
    this.#asked.set(name, asked);
    if (isOwed) return;
    await asked;
    this.#asked.delete(name);
    this.#sleeps.set(name, (this.#sleeps.get(name) ?? 0) + 1);
  }

  async #evict(name: string): Promise<void> {
    const wasOwed = name === this.#owed;
    await this.#sidekick.evict("hibernate", name).catch((error: unknown) => {
      if (!wasOwed || !(error instanceof Busy)) throw error;
      return this.#evict(name);
    });
  }
}

/** The cases that the conversations must cover. */
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
