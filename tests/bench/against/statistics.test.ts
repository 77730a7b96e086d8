import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, median, medianInterval } from "./statistics.js";

const counted = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test("the median of an even count is the mean of the middle two", () => {
  assert.equal(median([5]), 5);
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([9, 1, 5, 4]), 4.5);
});

test("the median does not reorder its argument", () => {
  const values = [3, 1, 2];
  median(values);
  medianInterval(values);
  assert.deepEqual(values, [3, 1, 2]);
});

// Ranks as in tables of the sign test, e.g. Conover, Practical Nonparametric Statistics, table A3.
for (const [count, wanted, low, high, coverage] of [
  [8, 0.99, 1, 8, 0.9922],
  [15, 0.99, 3, 13, 0.9926],
  [15, 0.95, 4, 12, 0.9648],
  [20, 0.95, 6, 15, 0.9586],
  [25, 0.95, 8, 18, 0.9567],
  [31, 0.99, 8, 24, 0.9967],
] as const) {
  test(`the ${wanted} interval of ${count} values goes from rank ${low} to rank ${high}`, () => {
    const interval = medianInterval(counted(count).reverse(), wanted);
    assert.equal(interval.low, low);
    assert.equal(interval.high, high);
    assert.equal(interval.coverage.toFixed(4), coverage.toFixed(4));
  });
}

test("too few values for the coverage give their range, with the coverage it has", () => {
  assert.deepEqual(medianInterval([2, 1, 3]), { low: 1, high: 3, coverage: 0.75 });
  assert.deepEqual(medianInterval([7]), { low: 7, high: 7, coverage: 0 });
});

test("no values are an error", () => {
  assert.throws(() => median([]), /at least one/);
  assert.throws(() => medianInterval([]), /at least one/);
});

test("the interval of skewed noise covers its median at the stated rate", () => {
  let state = 1; // a fixed sequence: the test is the same each time
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const trials = 4000;
  let covered = 0;
  for (let i = 0; i < trials; i++) {
    const values = Array.from({ length: 15 }, () => -Math.log(random())); // its median is ln 2
    const { low, high } = medianInterval(values);
    if (low <= Math.LN2 && Math.LN2 <= high) covered++;
  }
  assert.ok(covered / trials > 0.985, `covered ${covered} of ${trials}`);
});

test("a gate is met below the interval's end, missed above its beginning, undecided within", () => {
  assert.equal(judge({ low: 0.98, high: 1.04 }, 1.05), "met");
  assert.equal(judge({ low: 0.98, high: 1.05 }, 1.05), "met");
  assert.equal(judge({ low: 1.04, high: 1.06 }, 1.05), "open");
  assert.equal(judge({ low: 1.05, high: 1.06 }, 1.05), "open");
  assert.equal(judge({ low: 1.06, high: 1.1 }, 1.05), "missed");
});
