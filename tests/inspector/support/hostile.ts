// Recordings that nobody recorded: every member of every line has a value from a stranger.
import { KINDS } from "../../../worker/inspector/recording.ts";
import { Recorder } from "./recorder.ts";

const SCRIPT =
  "</script><script>owned = 1</script><img src=x onerror=owned=1><!--\"'`&lt;{{owned=1}}";
const MARKS = "\u202e\u2066txet\u2069\u200f\u200e\u061c\u2028\ufeff\u200b";
const levels = (count: number): string => `${"[".repeat(count)}${"]".repeat(count)}`;

/** As JSON: what a member of a line, or of a message in it, may have as its value. */
export const hostileValues: Readonly<Record<string, string>> = {
  "a script that ends its element": JSON.stringify(SCRIPT),
  "marks that reverse text": JSON.stringify(MARKS),
  "terminal escapes and NUL": JSON.stringify("\u001b[31m\u0000\u0085\r\n"),
  "a lone surrogate": '"\\ud800a\\udfff"',
  "marks as base64": JSON.stringify({ base64: MARKS }),
  "bytes that are not UTF-8": '{"base64":"/wDAr+KA"}',
  "an object with its own toString": '{"toString":1,"valueOf":1,"toJSON":1,"__proto__":{"a":1}}',
  "objects in a list": `[{"toString":1},[null,${JSON.stringify(MARKS)}]]`,
  "marks as a name": JSON.stringify({ [MARKS]: MARKS, [SCRIPT]: SCRIPT }),
  nothing: "null",
  "a number without an end": "1e400",
  "a time after all dates": "9007199254740991",
  "a number below zero": "-1.5",
  "64 levels": levels(64),
  "12,000 levels": levels(12_000),
};

/** Values of a line that make sense for its kind. */
const usual: Readonly<Record<string, string>> = {
  ...{ client: "1", clients: "[1]", request: "1", forward: "1", call: "1", state: "2", shard: "0" },
  ...{ method: '"POST"', path: '"/message"', status: "200", code: "1008", reason: '"why"' },
  ...{ key: '"t"', topic: '"channel:c/"', topics: '["channel:c/"]', args: '["channel:c/"]' },
  ...{ values: '["1-1"]', script: '"message"', expires_at: "0", at_ms: "1", epoch: "1" },
  ...{ outcome: "0", ms: "1", buffered_bytes: "1", kept: "1", append: "0", hash: "{}" },
};

/** Members that are texts with members of their own. */
const texts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  bytes: { type: '"subscribe"', token: '"t"' },
  text: { type: '"message"', channel: '"c"', params: "{}", data: "1", error: '{"message":"no"}' },
  body: { channel: '"c"', params: "{}", data: "1", resources: '["r"]', context: "1" },
  record: { channel: '"c"', params: "{}", tokens: '["t"]', tokens_gone: "[]", resources: '["r"]' },
};

function objectOf(members: Readonly<Record<string, string>>): string {
  return `{${Object.entries(members)
    .map(([name, value]) => `${JSON.stringify(name)}:${value}`)
    .join(",")}}`;
}

function lineOf(kind: string, members: Readonly<Record<string, string>>): string {
  const isInput = KINDS.indexOf(kind as "draining") <= KINDS.indexOf("draining");
  const start = isInput ? { in: JSON.stringify(kind), now: "1" } : { out: JSON.stringify(kind) };
  return objectOf({ ...start, ...members });
}

/** Lines of each kind: each has this value in one place, and the last one in all places. */
export function hostileLines(value: string, kinds: readonly string[] = KINDS.slice(4)): string[] {
  const plainTexts = Object.fromEntries(
    Object.entries(texts).map(([name, members]) => [name, JSON.stringify(objectOf(members))]),
  );
  const whole = { ...usual, ...plainTexts };
  const variants: Record<string, string>[] = Object.keys(whole).map((name) => ({
    ...whole,
    [name]: value,
  }));
  for (const [name, members] of Object.entries(texts)) {
    for (const member of Object.keys(members)) {
      const text = JSON.stringify(objectOf({ ...members, [member]: value }));
      variants.push({ ...whole, [name]: text });
    }
  }
  variants.push(Object.fromEntries(Object.keys(whole).map((name) => [name, value])));
  return kinds.flatMap((kind) => variants.map((members) => lineOf(kind, members)));
}

/** Lines that stand for themselves, as a header, a hash or nothing of the kind. */
export function hostileOthers(value: string): string[] {
  return [
    `{"trace":2,"core":${value},"hash_seed":${value},"config":${value}}`,
    `{"hash":${value}}`,
    `{"hash":{"state":${value},"inputs":${value}}}`,
    `{"in":"timer_fired","now":${value}}`,
    `{"in":${value},"now":1}`,
    `{"gap":${value}}`,
    `{${JSON.stringify(MARKS + SCRIPT)}:${value}}`,
    `{"out":"trace"}`,
    value,
  ];
}

/** What a real hub records when a client and an app server send this text wherever they can. */
export function hostileTraffic(evil: string): Recorder {
  const recorder = new Recorder().begin();
  recorder.open(1);
  const params = { [evil]: evil };
  const scope = { channel: evil, params };
  recorder.post("/connection", { token: evil, ...scope, context: { [evil]: evil } });
  recorder.frame(1, { type: "subscribe", token: evil });
  recorder.frame(1, { type: "listen", resources: [`r${evil}`] });
  recorder.frame(1, { type: "send", token: evil, ...scope, data: evil });
  recorder.post("/message", { ...scope, data: evil });
  recorder.post("/resources", { resources: [`r${evil}`, `${evil}2`] });
  recorder.frame(1, { type: evil, [evil]: evil });
  recorder.input({ type: "client_frame", client: 1, bytes: evil, is_text: 1 });
  recorder.post(evil, evil, evil);
  recorder.post("/message", evil);
  return recorder;
}
