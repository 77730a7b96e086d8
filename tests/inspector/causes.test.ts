// The links of the side panel to other inputs: why a client got a message, and the effects of a
// publish or a subscribe.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { causesOf } from "../../worker/inspector/causes.ts";
import { Fold } from "../../worker/inspector/fold.ts";
import { Recorder } from "./support/recorder.ts";

const ROOM = { roomId: "1" };
const TOPIC = "channel:chat/roomId:1";
const TEXT = '{ "type": "message", "channel": "chat", "params": { "roomId": "1" }, "data": "hi" }';

/** The links of a line, as `text: line`. Lines from 1. */
function causes(recorder: Recorder, line: number): string[] {
  const recording = recorder.recording();
  const fold = new Fold(recording);
  fold.advance(true);
  const steps = causesOf(recording, fold, line - 1);
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done !== true) continue;
    return step.value.map((link) => `${link.text}: ${link.filter ?? link.line + 1}`);
  }
}

describe("a delivery", () => {
  it("leads to the subscribe of each of its clients, and back", () => {
    const on = new Recorder().begin();
    on.open(1);
    on.open(2);
    const one = on.subscribe(1, "t1", ROOM);
    const two = on.subscribe(2, "t2", ROOM);
    const first = on.publish(ROOM);
    on.frame(2, { type: "unsubscribe", token: "t2" });
    const second = on.publish(ROOM);
    const again = on.subscribe(2, "t3", ROOM);
    const third = on.publish(ROOM);
    const [sub1, sub2] = [1, 2].map((id) => `client ${id} receives it because of subscribe`);
    assert.deepEqual(causes(on, first + 1), [`${sub1}: ${one}`, `${sub2}: ${two}`]);
    assert.deepEqual(causes(on, second + 1), [`${sub1}: ${one}`]);
    assert.deepEqual(causes(on, third + 1), [`${sub1}: ${one}`, `${sub2}: ${again}`]);
    assert.deepEqual(causes(on, first), [`delivered to 2 clients: ${first + 1}`]);
    const sent = (line: number) => `delivers chat/roomId:1: ${line + 1}`;
    assert.deepEqual(causes(on, one), [sent(first), sent(second), sent(third)]);
    assert.deepEqual(causes(on, two), [sent(first)]);
    assert.deepEqual(causes(on, again), [sent(third)]);
  });

  it("leads to the listen of a resource, and a restored client", () => {
    const on = new Recorder();
    on.input({ type: "begin", epoch: 77 });
    const record = '{ "tokens": [], "resources": ["todo/1"] }';
    const restored = on.input({ type: "restore_client", client: 1, record });
    on.input({ type: "restored" });
    on.open(2);
    const listens = on.frame(2, { type: "listen", resources: ["todo/1", "todo/2"] });
    const posted = on.post("/resources", { resources: ["todo/1"] });
    assert.deepEqual(causes(on, posted + 1), [
      `client 1 receives it because of restore_client: ${restored}`,
      `client 2 receives it because of listen: ${listens}`,
    ]);
    assert.deepEqual(causes(on, restored), [`delivers todo/1: ${posted + 1}`]);
    assert.deepEqual(causes(on, listens), [`delivers todo/1: ${posted + 1}`]);
    assert.deepEqual(causes(on, posted), [`delivered to 2 clients: ${posted + 1}`]);
  });

  it("by an engine leads to the POST, and to the subscribe that its calls completed", () => {
    const on = new Recorder({ engine_shards: 1, node: "00000000000000aa" }).begin();
    const answer = (action: "engine_run" | "engine_join", values: string[]): number => {
      const call = Number(on.latest(action)["call"]);
      return on.input({ type: "engine_answer", call, status: 0, values });
    };
    const message = (stamp: string): number =>
      on.input({ type: "engine_message", shard: 0, topic: TOPIC, body: `${stamp} ${TEXT}` });
    on.input({ type: "engine_up", shard: 0, kept: 0 });
    answer("engine_run", ["e1", "run-1", "5000"]);
    on.open(1);
    const subscribe = on.frame(1, { type: "subscribe", token: "t1" });
    const record = '{ "channel": "chat", "params": { "roomId": "1" } }';
    answer("engine_run", ["ok", record, "4000", "5000", "0"]);
    const joined = answer("engine_join", []);
    const publish = on.publish(ROOM);
    const ours = message("5001");
    answer("engine_run", ["5001"]);
    const other = message("5002");
    const since = `client 1 receives it because of subscribe: ${subscribe}`;
    assert.deepEqual(causes(on, ours + 1), [`started by POST /message: ${publish}`, since]);
    assert.deepEqual(causes(on, other + 1), [since]);
    assert.deepEqual(causes(on, publish), [`delivered to 1 client: ${ours + 1}`]);
    assert.deepEqual(causes(on, joined), [`started by subscribe: ${subscribe}`]);
    assert.deepEqual(
      causes(on, subscribe),
      [ours, other].map((line) => `delivers chat/roomId:1: ${line + 1}`),
    );
  });

  it("leads back thousands of inputs, across checkpoints and breaks", () => {
    const on = new Recorder().begin();
    on.open(1);
    on.open(2);
    const one = on.subscribe(1, "t1", ROOM);
    on.subscribe(2, "t2", ROOM);
    for (let ping = 0; ping < 9000; ping++) {
      on.input({ type: "timer_fired" });
      if (ping === 5000) on.frame(2, { type: "unsubscribe", token: "t2" });
    }
    const two = on.subscribe(2, "t3", ROOM);
    const publish = on.publish(ROOM);
    assert.deepEqual(causes(on, publish + 1), [
      `client 1 receives it because of subscribe: ${one}`,
      `client 2 receives it because of subscribe: ${two}`,
    ]);
  });

  it("among many others links to the filter that shows all of them", () => {
    const on = new Recorder().begin();
    on.open(1);
    const subscribe = on.subscribe(1, "t1", ROOM);
    for (let count = 0; count < 20; count++) on.publish(ROOM);
    const links = causes(on, subscribe);
    assert.equal(links.length, 13);
    assert.equal(links[12], 'all deliveries: client:1 type:send topic:"chat/roomId:1"');
  });
});
