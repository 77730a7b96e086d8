// What becomes of a recording whose storage refuses a row late, or at once: a real Durable Object's cannot be made to at will. Built, since its source
// needs the types of Workers, which are not those of Node.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

const built = "../../../worker/dist/cloudflare/trace-ring.js"; // a name, so that types can be checked before it is built
const { TraceRing } = await import(built);

/** As much of a Durable Object's storage as the ring uses. */
function fakeStorage() {
  const rows = new Map<string, Uint8Array>();
  const sorted = () => [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  const storage = {
    refuses: "nothing" as "nothing" | "at once" | "later",
    recordings: () =>
      sorted().map(
        ([key, row]) =>
          `${key.split("/")[2]!.replace(/^0+(?=\d)/, "")}: ${new TextDecoder().decode(row)}`,
      ),
    async put(key: string, row: Uint8Array) {
      if (storage.refuses === "later") throw new Error("full");
      rows.set(key, row);
    },
    async delete(keys: readonly string[]) {
      for (const key of keys) rows.delete(key);
    },
    kv: {
      list({
        reverse = false,
        limit = Infinity,
        start = "",
      }: {
        reverse?: boolean;
        limit?: number;
        start?: string;
      }) {
        const found = sorted().filter(([key]) => key >= start);
        return (reverse ? found.reverse() : found).slice(0, limit);
      },
    },
  };
  const ring = new TraceRing({
    ...storage,
    put(key: string, row: Uint8Array) {
      if (storage.refuses === "at once") throw new Error("full");
      return storage.put(key, row);
    },
  } as never);
  return { storage, ring };
}

const line = (text: string) => new TextEncoder().encode(text);

for (const when of ["at once", "later"] as const) {
  test(`a recording whose row is refused ${when} ends there; the next one begins with its own first line`, async () => {
    const told = mock.method(console, "error", () => {});
    const { storage, ring } = fakeStorage();
    ring.begin(1 << 20, line("first"));
    ring.write(line("a\n"));
    ring.flush();
    storage.refuses = when;
    ring.write(line("b\n"));
    ring.flush();
    ring.write(line("waits\n")); // before the storage has said so, where it says so later
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ring.isOpen, false);
    assert.equal(told.mock.callCount(), 1);
    assert.match(String(told.mock.calls[0]!.arguments[0]), /the recording ends here.*full/);
    storage.refuses = "nothing";
    ring.write(line("too late\n"));
    ring.begin(1 << 20, line("second"));
    ring.write(line("c\n"));
    ring.flush();
    assert.deepEqual(storage.recordings(), ["0: first\na\n", "8: second\nc\n"]);
    told.mock.restore();
  });
}

test("a refusal that comes when the next recording has begun ends only the one before", async () => {
  const told = mock.method(console, "error", () => {});
  const { storage, ring } = fakeStorage();
  ring.begin(1 << 20, line("first"));
  ring.flush();
  storage.refuses = "later";
  ring.write(line("a\n"));
  ring.flush();
  storage.refuses = "nothing";
  ring.begin(1 << 20, line("second"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(ring.isOpen, true);
  ring.flush();
  assert.equal(storage.recordings().at(-1), "6: second\n");
  assert.equal(told.mock.callCount(), 0);
  told.mock.restore();
});

test("a row that is full is flushed by what comes next, and a refusal there leaves nothing behind, either", () => {
  const told = mock.method(console, "error", () => {});
  const { storage, ring } = fakeStorage();
  ring.begin(1 << 20, line("first"));
  ring.flush();
  ring.write(new Uint8Array(1 << 20));
  storage.refuses = "at once";
  ring.write(line("it goes with it\n"));
  assert.equal(ring.isOpen, false);
  storage.refuses = "nothing";
  ring.begin(1 << 20, line("second"));
  ring.flush();
  assert.deepEqual(storage.recordings(), ["0: first\n", "6: second\n"]);
  assert.equal(told.mock.callCount(), 1);
  told.mock.restore();
});
