// A recording whose storage rejects a row at once or later, which a real Durable Object cannot be
// made to do. Uses the built file, because the source needs the Workers' types, which differ from
// Node's.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

// a variable, so that types can be checked before the build
const built = "../../../worker/dist/cloudflare/trace-ring.js";
const { TraceRing } = await import(built);

/** The part of a Durable Object's storage that the ring uses. */
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
  const refusing = {
    ...storage,
    put(key: string, row: Uint8Array) {
      if (storage.refuses === "at once") throw new Error("full");
      return storage.put(key, row);
    },
  };
  const ring = new TraceRing(refusing, 1 << 20, () => {});
  return { storage, ring };
}

const line = (text: string) => new TextEncoder().encode(text);

test("its place is the next line, counted from the start of the recording", () => {
  const { ring } = fakeStorage();
  ring.begin(line("first"));
  ring.write(line("one\ntwo\n"));
  assert.equal(ring.place(7), "GET /trace, line 4 of the recording with epoch 7");
  ring.begin(line("second"));
  assert.equal(ring.place(8), "GET /trace, line 2 of the recording with epoch 8");
});

for (const when of ["at once", "later"] as const) {
  test(`a recording whose row is rejected ${when} ends there; the next one starts with its own header line`, async () => {
    const told = mock.method(console, "error", () => {});
    const { storage, ring } = fakeStorage();
    ring.begin(line("first"));
    ring.write(line("a\n"));
    ring.flush();
    storage.refuses = when;
    ring.write(line("b\n"));
    ring.flush();
    // before the storage has reported the failure, if it reports it later
    ring.write(line("waits\n"));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ring.isActive, false);
    assert.equal(told.mock.callCount(), 1);
    assert.match(String(told.mock.calls[0]!.arguments[0]), /the recording ends here.*full/);
    storage.refuses = "nothing";
    ring.write(line("too late\n"));
    ring.begin(line("second"));
    ring.write(line("c\n"));
    ring.flush();
    assert.deepEqual(storage.recordings(), ["0: first\na\n", "8: second\nc\n"]);
    told.mock.restore();
  });
}

test("a rejection that arrives after the next recording has started ends only the previous one", async () => {
  const told = mock.method(console, "error", () => {});
  const { storage, ring } = fakeStorage();
  ring.begin(line("first"));
  ring.flush();
  storage.refuses = "later";
  ring.write(line("a\n"));
  ring.flush();
  storage.refuses = "nothing";
  ring.begin(line("second"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(ring.isActive, true);
  ring.flush();
  assert.equal(storage.recordings().at(-1), "6: second\n");
  assert.equal(told.mock.callCount(), 0);
  told.mock.restore();
});

test("a full row is flushed by the next line, and a rejection there leaves nothing behind either", () => {
  const told = mock.method(console, "error", () => {});
  const { storage, ring } = fakeStorage();
  ring.begin(line("first"));
  ring.flush();
  ring.write(new Uint8Array(1 << 20));
  storage.refuses = "at once";
  ring.write(line("it goes with it\n"));
  assert.equal(ring.isActive, false);
  storage.refuses = "nothing";
  ring.begin(line("second"));
  ring.flush();
  assert.deepEqual(storage.recordings(), ["0: first\n", "6: second\n"]);
  assert.equal(told.mock.callCount(), 1);
  told.mock.restore();
});
