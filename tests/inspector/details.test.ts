// What the side panel says of a line: what caused it, and what belongs to it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { detailOf } from "../../worker/inspector/details.ts";
import { Recorder, recordingOf } from "./support/recorder.ts";

/** The links of a line, as `text: line`. Lines from 1. */
function linksOf(recorder: Recorder, line: number): string[] {
  const { links } = detailOf(recorder.recording(), line - 1, false);
  return links.map((link) => `${link.text}: ${link.line + 1}`);
}

describe("the links of a line", () => {
  it("lead from a forward to its answer and back, over other inputs", () => {
    const recorder = new Recorder().begin();
    const opened = recorder.open(1);
    recorder.register("t1", { roomId: "1" });
    const params = { roomId: "1" };
    const sent = recorder.frame(1, { type: "send", token: "t1", channel: "chat", params, data: 1 });
    const forward = Number(recorder.latest("forward")["forward"]);
    recorder.open(2);
    const done = recorder.input({
      ...{ type: "forward_done", forward, status: 204, body: "", outcome: 0 },
    });
    const at = recorder.text.split("\n").findIndex((line) => line.includes('"out":"forward"')) + 1;
    assert.deepEqual(linksOf(recorder, sent), [`when it opened: ${opened}`]);
    assert.deepEqual(linksOf(recorder, at), [
      `caused by client_frame: ${sent}`,
      `its end: ${done}`,
    ]);
    assert.deepEqual(linksOf(recorder, done), [`the forward: ${at}`]);
  });

  it("lead from a request to its answer, and from a client's end to its beginning", () => {
    const recorder = new Recorder().begin();
    const opened = recorder.open(1);
    const other = recorder.open(2);
    const posted = recorder.publish({ roomId: "1" });
    const closed = recorder.close(1);
    assert.deepEqual(linksOf(recorder, posted), [`its answer: ${posted + 1}`]);
    assert.deepEqual(linksOf(recorder, posted + 1), [
      `caused by http_request: ${posted}`,
      `the request: ${posted}`,
    ]);
    assert.deepEqual(linksOf(recorder, opened), [`its end: ${closed}`]);
    assert.deepEqual(linksOf(recorder, closed), [`when it opened: ${opened}`]);
    assert.deepEqual(linksOf(recorder, other), []);
  });

  it("never lead into another hub of the same file", () => {
    const first = new Recorder().begin();
    first.open(1);
    const second = new Recorder().begin();
    const opened = second.open(1);
    second.close(1);
    const recording = recordingOf(first.text + second.text);
    const before = first.text.split("\n").length - 1;
    const links = (line: number) => detailOf(recording, line - 1, false).links;
    assert.deepEqual(links(before), []);
    const [link] = links(before + opened + 1);
    assert.equal(link?.line, before + opened - 1);
  });
});

describe("the fields of a line", () => {
  it("show messages as trees, times as dates, and bytes that are not UTF-8", () => {
    const lines = [
      '{"trace":2}',
      '{"in":"client_frame","now":1,"client":1,"bytes":{"base64":"/w=="},"is_text":0}',
      '{"out":"put_token","state":0,"expires_at":1700000300000,"key":"t","record":"{ \\"a\\": date:2026-01-27 }","durable":1}',
    ];
    const recording = recordingOf(`${lines.join("\n")}\n`);
    const fields = (line: number) =>
      Object.fromEntries(
        detailOf(recording, line, false).fields.map(({ name, value, pretty }) => [
          ...[name, pretty ?? value],
        ]),
      );
    assert.equal(fields(1)["bytes"], "/w== (base64: not UTF-8)");
    assert.equal(fields(2)["record"], '{\n  "a": date:2026-01-27\n}');
    assert.equal(fields(2)["expires_at"], "1700000300000  (2023-11-14 22:18:20.000)");
  });

  it("show a list as lines", () => {
    const run = { out: "engine_run", call: 1, shard: 0, script: "erase", args: ["a\n", "b"] };
    const recording = recordingOf(`{"trace":2}\n${JSON.stringify(run)}\n`);
    const fields = detailOf(recording, 1, false).fields;
    assert.equal(fields.find(({ name }) => name === "args")?.value, "a\\x0a\nb");
  });

  it("cut what is long, until all of it is asked for", () => {
    const long = "x".repeat(100_000);
    const recording = recordingOf(`{"trace":2}\n{"in":"client_frame","now":1,"bytes":"${long}"}\n`);
    const value = (isWhole: boolean) => detailOf(recording, 1, isWhole).fields[0]!.value;
    assert.equal(value(false).length, 20_001);
    assert.equal(value(true), long);
  });
});
