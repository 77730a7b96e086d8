// A recording may come from anyone: whatever its lines contain, each view has something to say.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { causesOf } from "../../worker/inspector/causes.ts";
import { detailOf, stateOf } from "../../worker/inspector/details.ts";
import { filterOf, quoted } from "../../worker/inspector/filter.ts";
import { Fold } from "../../worker/inspector/fold.ts";
import { publishedTopics } from "../../worker/inspector/publish.ts";
import type { Recording } from "../../worker/inspector/recording.ts";
import { rowOf } from "../../worker/inspector/rows.ts";
import { why } from "../../worker/inspector/why.ts";
import { hostileLines, hostileOthers, hostileTraffic, hostileValues } from "./support/hostile.ts";
import { actedOn } from "./support/page.ts";
import { Recorder, recordingOf } from "./support/recorder.ts";

const LARGEST_DATE = 8.64e15;
const HEADER = '{"trace":2,"core":"1","config":{}}';

/** Asks for all that the page shows of a recording. */
function look(recording: Recording): void {
  const fold = new Fold(recording);
  fold.advance(true);
  for (let line = 0; line < recording.lineCount; line++) {
    const row = rowOf(recording, line, false);
    assert.ok(row.text.length <= 3000 && row.who.length <= 3000, `line ${line + 1}`);
    assert.doesNotMatch(row.text + row.who, actedOn);
    assert.ok(row.time <= LARGEST_DATE, `line ${line + 1}`);
    for (const { name, value, pretty = "" } of detailOf(recording, line, false).fields)
      assert.doesNotMatch((name + value + pretty).replaceAll("\n", ""), actedOn);
  }
  for (let group = 0; group < recording.groupCount; group++) {
    stateOf(recording, group, fold.after(group), "");
    for (const topic of publishedTopics(recording, group).slice(0, 1))
      done(why(recording, group, topic));
    done(causesOf(recording, fold, recording.firstLine(group)));
  }
}

function done<T>(steps: Generator<undefined, T, undefined>): T {
  for (let step = steps.next(); ; step = steps.next()) if (step.done === true) return step.value;
}

describe("a recording that nobody recorded is shown", () => {
  for (const [title, value] of Object.entries(hostileValues)) {
    it(`with ${title} in every place`, () => {
      // A long value in all lines of all kinds would take minutes.
      const kinds = value.length > 10_000 ? ["client_frame", "send"] : undefined;
      for (const lines of [hostileLines(value, kinds), hostileOthers(value)]) {
        const size = 100; // each publish looks at all lines
        for (let from = 0; from < lines.length; from += size)
          look(recordingOf([HEADER, ...lines.slice(from, from + size), ""].join("\n")));
      }
    });
  }

  it("with lines before its header", () => {
    const recorder = new Recorder().begin();
    recorder.open(1);
    const early = [
      '{"in":"client_opened","now":1,"client":1}',
      '{"in":"client_frame","now":1,"client":2,"bytes":"{}","is_text":1}',
      '{"in":"client_closed","now":1,"client":2}',
    ];
    const recording = recordingOf(`${early.join("\n")}\n${recorder.text}`);
    for (const group of [0, 1, 2]) assert.deepEqual(recording.hubOf(group), { from: 0, to: 3 });
    assert.deepEqual(recording.hubOf(3), { from: 3, to: recording.groupCount });
    look(recording);
  });

  it("with inputs that are called like actions or headers, and the reverse", () => {
    const recording = recordingOf(
      `${HEADER}\n{"in":"send","now":1}\n{"out":"client_opened"}\n{"out":"trace"}\n{"in":"gap"}\n`,
    );
    assert.equal(recording.inputCount, 0);
    assert.equal(recording.hubs.length, 1);
    for (let line = 1; line < 5; line++) assert.equal(recording.kind(line), "broken");
  });

  it("with 100,000 members in one line, of which it shows some", () => {
    const members = Array.from({ length: 100_000 }, (_, index) => `"m${index}":1`);
    const recording = recordingOf(`{"out":"send",${members.join(",")}}\n`);
    const { fields } = detailOf(recording, 0, false);
    assert.equal(fields.length, 101);
    assert.deepEqual(fields.at(-1), { name: "more", value: "99900 other members" });
  });

  it("with 3 million values in one message, of which it writes some", () => {
    const text = JSON.stringify(`{"data":[${"1,".repeat(3_000_000)}1]}`);
    const recording = recordingOf(`{"in":"client_frame","now":1,"client":1,"bytes":${text}}\n`);
    const bytes = detailOf(recording, 0, false).fields.find(({ name }) => name === "bytes");
    assert.match(bytes!.pretty!, /^\{\n {2}"data": \[\n {4}1,\n[^]*…$/);
    assert.equal(bytes!.pretty!.length, 20_001);
  });
});

describe("the filter", () => {
  const evil: Readonly<Record<string, string>> = {
    "quotes and backslashes": 'a"b\\c \\" d',
    "marks that reverse text": "\u202e\u2066txet\u2069\u061c",
    controls: "\u0000\u001b[31m\n\b\f",
    "the separators of names": "a/b,c:d",
    "what looks like an escape": "\\u202e\\x1b",
  };
  for (const [title, text] of Object.entries(evil)) {
    it(`finds a token, channel and resource with ${title}, and its text has no mark`, () => {
      const recording = hostileTraffic(text).recording();
      const fold = new Fold(recording);
      fold.advance(true);
      const last = recording.groupCount - 1;
      const state = stateOf(recording, last, fold.after(last), "");
      assert.deepEqual([state.tokens.length, state.topics.length], [1, 2]);
      const terms = [
        `token:${quoted(state.tokens[0]!.key)}`,
        ...[...state.topics]
          .sort((a, b) => Number(b.isChannel) - Number(a.isChannel))
          .map(({ name }) => `topic:${quoted(name)}`),
      ];
      const find = (term: string): number => {
        assert.doesNotMatch(term, actedOn);
        const filter = filterOf(term);
        assert.equal(filter.error, "");
        let found = 0;
        for (let group = 0; group <= last; group++) if (filter.matches(recording, group)) found++;
        return found;
      };
      // POST /connection, subscribe, send; those and POST /message; listen and POST /resources
      assert.deepEqual(terms.map(find), [3, 4, 2]);
    });
  }

  it("looks through lines of 10 MB, whatever is in them", () => {
    const token = '\\"\\\\\\"\\",';
    const evil: Record<string, string> = {
      clients: `{"out":"send","clients":[${"1,".repeat(5_000_000)}1],"text":""}`,
      args: `{"out":"engine_run","args":[${'"\\"",'.repeat(2_000_000)}""]}`,
      tokens: `{"out":"attach_client","record":"{\\"tokens\\": [${token.repeat(1_000_000)}`,
      levels: `{"in":"client_frame","now":1,"bytes":"${"[".repeat(10_000_000)}`,
    };
    for (const [name, line] of Object.entries(evil)) {
      const recording = recordingOf(`${HEADER}\n${line}\n`);
      for (const term of ["client:7", "token:ab", "topic:chat/a:1", "error", "type:send", '"a b"'])
        assert.equal(
          filterOf(term).matches(recording, 0),
          term === "type:send" && name === "clients",
        );
    }
  });
});
