// Values of every ION type, each with a name for the test report. All survive ION.stringify, UTF-8
// and ION.parse, except -0, which ION prints as 0. (Lone surrogates are missing: ION prints them
// raw, and UTF-8 cannot carry them.)

const deep = (levels: number): unknown =>
  levels === 0 ? "bottom" : levels % 2 ? [deep(levels - 1)] : { down: deep(levels - 1) };

export const ionValues: Record<string, unknown> = {
  null: null,
  booleans: [true, false],
  integers: [0, 1, -1, 42, 2 ** 31, -(2 ** 53), Number.MAX_SAFE_INTEGER],
  fractions: [0.1, -0.5, 1 / 3, 123456.789],
  "big and small numbers": [
    1e21,
    1.5e300,
    Number.MAX_VALUE,
    Number.MIN_VALUE,
    1e-7,
    Number.EPSILON,
    1234567890 * 1e10,
  ],
  "minus zero": -0,
  NaN: NaN,
  Infinity: Infinity,
  "minus Infinity": -Infinity,
  "NaN and infinities inside": { a: [NaN, Infinity, -Infinity], b: new Map([["k", NaN]]) },
  dates: [
    new Date("2026-01-27T15:30:00.000Z"),
    new Date(0),
    new Date(-1),
    new Date(8.64e15),
    new Date(-8.64e15),
  ],
  map: new Map<unknown, unknown>([
    ["a", 1],
    [2, "b"],
    [null, [true]],
    [{ key: 1 }, new Map([["inner", new Set([1])]])],
  ]),
  set: new Set<unknown>([1, "1", null, new Date(5), [1, 2], new Set([3])]),
  "empty containers": { array: [], object: {}, map: new Map(), set: new Set(), text: "" },
  unicode: { ключ: "日本語 🎉 👩‍👩‍👧 é e\u0301 \u202e \ufeff", "🔑": "\u{10ffff}\uffff" },
  "characters that need escapes": '" \\ / \b \f \n \r \t \u0000 \u001f \u007f \u2028 \u2029',
  "strings that look like ION": [
    "date:2026-01-27",
    "map { }",
    "set { 1 }",
    "NaN",
    "}, ] :",
    '{ "type": "ping" }',
  ],
  "keys that look like the protocol": {
    type: "error",
    token: "t",
    channel: "c",
    params: {},
    data: { data: 1 },
    context: null,
  },
  nested: {
    list: [{ map: new Map([["when", [new Date(1), { set: new Set([new Map([[1, NaN]])]) }]]]) }],
  },
  deep: deep(100),
  long: "läng ".repeat(20_000),
  wide: Array.from({ length: 5_000 }, (_, index) => ({ index })),
};

export const afterTheWire = (value: unknown): unknown => (Object.is(value, -0) ? 0 : value);
