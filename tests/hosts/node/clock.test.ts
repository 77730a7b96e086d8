// The Node host's clock, and its log's bound.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClock } from "../../../worker/src/node/clock.ts";
import { boundedWriter } from "../../../worker/src/node/log.ts";

function clocks() {
  let [wall, monotonic, boot] = [1_000_000, 50, 70_000.5];
  return {
    wall: () => wall,
    monotonic: () => monotonic,
    boot: () => boot,
    /** Time passes. */
    wait(ms: number) {
      wall += ms;
      monotonic += ms;
      boot += ms;
    },
    /** The machine sleeps: the monotonic clock stands still. */
    sleep(ms: number) {
      wall += ms;
      boot += ms;
    },
    /** Somebody sets the system clock. */
    set(ms: number) {
      wall += ms;
    },
  };
}

test("the clock counts a machine's sleep, at the latest a second after it", () => {
  const machine = clocks();
  const now = createClock(machine);
  assert.equal(now(), 1_000_000);
  machine.wait(500);
  assert.equal(now(), 1_000_500);
  machine.sleep(3_600_000);
  machine.wait(1000);
  assert.equal(now(), 4_601_500);
  machine.sleep(60_000);
  machine.wait(1000);
  assert.equal(now(), 4_662_500);
});

test("the clock follows no jump of the system clock, and never runs backwards", () => {
  const machine = clocks();
  const now = createClock(machine);
  for (const jump of [3_600_000, -7_200_000]) {
    const before = now();
    machine.set(jump);
    machine.wait(2000);
    assert.equal(now(), before + 2000);
  }
});

test("a log whose reader is too slow drops lines, and tells how many in the next one", () => {
  const taken: string[] = [];
  const stream = { writableLength: 256 * 1024 - 10, write: (text: string) => taken.push(text) };
  const write = boundedWriter(stream);
  write("0123456789");
  write("0123456789+");
  write("0123456789+");
  stream.writableLength = 0;
  write("next\n");
  write("last\n");
  assert.equal(taken.length, 3);
  assert.equal(taken[0], "0123456789");
  assert.match(taken[1]!, /^\S+ warn {2}log lines were dropped: .* lines=2\nnext\n$/);
  assert.equal(taken[2], "last\n");
});
