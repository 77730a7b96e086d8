// "Why not?": one case for each reason. The expected line is the one that proves it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { publishedTopics } from "../../worker/inspector/publish.ts";
import { type Answer, REASONS, why } from "../../worker/inspector/why.ts";
import { Recorder } from "./support/recorder.ts";

const ROOM = { roomId: "1" };
const TOPIC = "channel:chat/roomId:1";

/** The answer for a client, about what was published at this line. */
function answerOf(recorder: Recorder, publish: number, client: number, topic?: string): Answer {
  const recording = recorder.recording();
  const group = recording.groupOf(publish - 1);
  const topics = publishedTopics(recording, group);
  const steps = why(recording, group, topic ?? topics[0]!);
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done !== true) continue;
    const answers = step.value.answers.filter((answer) => answer.client === client);
    assert.equal(answers.length, 1, "exactly one answer");
    return answers[0]!;
  }
}

interface Case {
  readonly title: string;
  readonly reason: Answer["reason"];
  /** Makes the recording. Returns the lines of the publish and of the proof, from 1. */
  readonly make: (recorder: Recorder) => readonly [publish: number, proof: number | undefined];
  readonly says?: RegExp;
  readonly config?: Record<string, unknown>;
  /** 1 if undefined. */
  readonly client?: number;
  readonly topic?: string;
}

const RECORD = '{ "channel": "chat", "params": { "roomId": "1" } }';
const ENGINE = { engine_shards: 1, node: "00000000000000aa" };

/** A hub whose engine is up. */
function up(on: Recorder): void {
  on.input({ type: "engine_up", shard: 0, kept: 0 });
  answer(on, "engine_run", ["e1", "run-1", "5000"]);
}

function answer(on: Recorder, action: "engine_run" | "engine_join", values: string[]): number {
  const call = Number(on.latest(action)["call"]);
  return on.input({ type: "engine_answer", call, status: 0, values });
}

/** A client of a hub with an engine, subscribed to the room. */
function subscribeByEngine(on: Recorder, client: number, record = RECORD): number {
  on.frame(client, { type: "subscribe", token: "t1" });
  answer(on, "engine_run", ["ok", record, "4000", "5000", "0"]);
  return answer(on, "engine_join", []);
}

const TEXT = '{ "type": "message", "channel": "chat", "params": { "roomId": "1" }, "data": "hi" }';

function welcomeOf(on: Recorder): { readonly epoch: string; readonly at: number } {
  const text = String(on.latest("send")["text"]);
  return (JSON.parse(text) as { welcome: { epoch: string; at: number } }).welcome;
}

const cases: readonly Case[] = [
  {
    title: "the hub sent it",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      return [publish, publish + 1];
    },
  },
  {
    title: "a resource that it listens to",
    reason: "delivered",
    topic: "resource:todo/2",
    make(on) {
      on.frame(1, { type: "listen", resources: ["todo/2"] });
      const publish = on.post("/resources", { resources: ["todo/1", "todo/2"] });
      return [publish, publish + 1];
    },
  },
  {
    title: "its socket lagged afterwards",
    reason: "lost",
    says: /lagging/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      return [publish, on.input({ type: "client_lagging", client: 1, buffered_bytes: 9 })];
    },
  },
  {
    title: "its socket closed soon afterwards, and it had said nothing since",
    reason: "lost",
    says: /socket closed/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      on.now += 89_000;
      return [publish, on.close(1)];
    },
  },
  {
    title: "its socket closed soon afterwards, but it had said something since",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      on.frame(1, { type: "ping" });
      on.close(1);
      return [publish, publish + 1];
    },
  },
  {
    title: "its socket closed soon afterwards, since Sidekick stopped",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      on.input({ type: "shutting_down" });
      on.close(1);
      return [publish, publish + 1];
    },
  },
  {
    title: "it missed the message, and recovered it with a position",
    reason: "recovered",
    make(on) {
      on.frame(1, { type: "listen", id: 1, resources: [], hello: "0123456789abcdef" });
      const { epoch, at } = welcomeOf(on);
      on.register("t1", ROOM);
      on.open(2);
      on.frame(2, { type: "listen", id: 1, resources: [], hello: "fedcba9876543210" });
      on.register("t2", ROOM);
      on.frame(2, { type: "subscribe", id: 2, token: "t2" });
      const publish = on.publish(ROOM);
      const late = on.frame(1, { type: "subscribe", id: 2, token: "t1", since: at, epoch });
      return [publish, late + 4];
    },
  },
  {
    title: "the publish had a wrong secret",
    reason: "rejected",
    says: /401/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.post("/message", { channel: "chat", params: ROOM, data: 1 }, "no");
      return [publish, publish + 1];
    },
  },
  {
    title: "the recording ends with the publish",
    reason: "cut",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.text.split("\n").length;
      on.line(
        '{"in":"http_request","now":1790000000000,"request":9,"body_bytes":9,"method":"POST",' +
          '"path":"/message","authorized":true,' +
          '"body":"{ \\"channel\\": \\"chat\\", \\"params\\": { \\"roomId\\": \\"1\\" }, \\"data\\": 1 }",' +
          '"headers":""}',
      );
      return [publish, publish];
    },
  },
  {
    title: "its socket closed before",
    reason: "closed",
    says: /its socket closed/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const proof = on.close(1);
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "Sidekick closed it before: another connection took over",
    reason: "closed",
    says: /4000 taken over/,
    make(on) {
      const hello = { type: "listen", id: 1, resources: [], hello: "0123456789abcdef" };
      on.frame(1, hello);
      on.open(2);
      const proof = on.frame(2, hello) + 2;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "its socket opened later",
    reason: "not_open_yet",
    client: 2,
    make(on) {
      const publish = on.publish(ROOM);
      on.close(1);
      return [publish, on.open(2)];
    },
  },
  {
    title: "it unsubscribed before",
    reason: "left",
    says: /it unsubscribed/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const proof = on.frame(1, { type: "unsubscribe", token: "t1" });
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "it unlistened before",
    reason: "left",
    says: /it sent unlisten/,
    make(on) {
      on.frame(1, { type: "listen", resources: ["todo/1"] });
      const proof = on.frame(1, { type: "unlisten", resources: ["todo/1"] });
      return [on.post("/resources", { resources: ["todo/1"] }), proof];
    },
  },
  {
    title: "it left one of two tokens for the channel",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      on.subscribe(1, "t2", ROOM);
      on.frame(1, { type: "unsubscribe", token: "t1" });
      const publish = on.publish(ROOM);
      return [publish, publish + 1];
    },
  },
  {
    title: "its token had expired when it subscribed",
    reason: "refused",
    says: /invalid token.*erased at line 9/,
    make(on) {
      on.register("t1", ROOM);
      on.now += 300_001;
      on.input({ type: "timer_fired" });
      const proof = on.frame(1, { type: "subscribe", token: "t1" }) + 1;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "another client held its token",
    reason: "refused",
    says: /client 2 holds it/,
    make(on) {
      on.open(2);
      on.subscribe(2, "t1", ROOM);
      const proof = on.frame(1, { type: "subscribe", token: "t1" }) + 1;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "it left, and could not come back with the same token",
    reason: "refused",
    says: /invalid token.*erased at line/,
    make(on) {
      on.subscribe(1, "t1", ROOM);
      on.frame(1, { type: "unsubscribe", token: "t1" });
      const proof = on.frame(1, { type: "subscribe", token: "t1" }) + 1;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "it was refused first, then subscribed, and left",
    reason: "left",
    make(on) {
      on.open(2);
      on.subscribe(2, "t1", ROOM);
      on.frame(1, { type: "subscribe", token: "t1" });
      on.subscribe(1, "t2", ROOM);
      const proof = on.frame(1, { type: "unsubscribe", token: "t2" });
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "its token was never registered",
    reason: "refused",
    says: /a token that this recording lacks/,
    make(on) {
      const proof = on.frame(1, { type: "subscribe", token: "guess" }) + 1;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "it was refused first, and has subscribed since",
    reason: "delivered",
    make(on) {
      on.frame(1, { type: "subscribe", token: "t1" });
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      return [publish, publish + 1];
    },
  },
  {
    title: "it subscribed later",
    reason: "late",
    make(on) {
      const publish = on.publish(ROOM);
      return [publish, on.subscribe(1, "t1", ROOM)];
    },
  },
  {
    title: "it subscribed to a name that is nearly the same",
    reason: "never",
    says: /Nearest: it is subscribed to chat\/room:1/,
    make(on) {
      on.subscribe(1, "t1", { room: "1" });
      return [on.publish(ROOM), undefined];
    },
  },
  {
    title: "it has sent messages with a token, and never subscribed with it",
    reason: "never",
    says: /subscribed to nothing/,
    make(on) {
      on.register("t1", ROOM);
      on.frame(1, { type: "send", token: "t1", channel: "chat", params: ROOM, data: 1 });
      return [on.publish(ROOM), undefined];
    },
  },
  {
    title: "it is subscribed to nothing",
    reason: "never",
    says: /subscribed to nothing/,
    make: (on) => [on.publish(ROOM), undefined],
  },
  {
    title: "engine: the message came back",
    reason: "delivered",
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      const publish = on.publish(ROOM);
      const back = on.input({
        ...{ type: "engine_message", shard: 0, topic: TOPIC, body: `5001 ${TEXT}` },
      });
      answer(on, "engine_run", ["5001"]);
      return [publish, back + 1];
    },
  },
  {
    title: "engine: the hub orders names of params by their bytes",
    reason: "delivered",
    config: ENGINE,
    make(on) {
      up(on);
      // In UTF-16, the second one would come first.
      const params = '{ "\uff01": "1", "\u{1f600}": "2" }';
      subscribeByEngine(on, 1, `{ "channel": "chat", "params": ${params} }`);
      const { topics } = on.latest("engine_join") as { topics: string[] };
      const body = `5001 { "type": "message", "channel": "chat", "params": ${params} }`;
      const back = on.input({ type: "engine_message", shard: 0, topic: topics[0]!, body });
      return [back, back + 1];
    },
  },
  {
    title: "engine: another Sidekick published it",
    reason: "delivered",
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      const back = on.input({
        ...{ type: "engine_message", shard: 0, topic: TOPIC, body: `5001 ${TEXT}` },
      });
      return [back, back + 1];
    },
  },
  {
    title: "engine: the connection was lost before the message came back",
    reason: "engine",
    says: /connection to the engine was lost/,
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      const publish = on.publish(ROOM);
      answer(on, "engine_run", ["5001"]);
      return [publish, on.input({ type: "engine_down", shard: 0 })];
    },
  },
  {
    title: "engine: its subscribe still waited",
    reason: "waiting",
    config: ENGINE,
    make(on) {
      up(on);
      // This node knows the token's channel from another client that had it.
      on.open(2);
      subscribeByEngine(on, 2);
      on.close(2);
      answer(on, "engine_run", []);
      const proof = on.frame(1, { type: "subscribe", token: "t1" });
      const back = on.input({
        ...{ type: "engine_message", shard: 0, topic: TOPIC, body: `5001 ${TEXT}` },
      });
      return [back, proof];
    },
  },
  {
    title: "engine: its listen waited in vain",
    reason: "refused",
    says: /engine unreachable/,
    config: ENGINE,
    make(on) {
      up(on);
      on.input({ type: "engine_down", shard: 0 });
      on.frame(1, { type: "listen", resources: ["todo/1"] });
      on.now += 3001;
      const proof = on.input({ type: "timer_fired" }) + 1;
      const topic = "resource:todo/1";
      return [on.input({ type: "engine_message", shard: 0, topic, body: "5001" }), proof];
    },
  },
  {
    title: "engine: another Sidekick has its token",
    reason: "left",
    says: /engine gave its token to another/,
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      const session = "77.1";
      on.input({
        ...{ type: "engine_message", shard: 0, topic: "", body: `taken ${session} t1` },
      });
      const proof = answer(on, "engine_run", ["1"]);
      const back = on.input({
        ...{ type: "engine_message", shard: 0, topic: TOPIC, body: `5001 ${TEXT}` },
      });
      return [back, proof];
    },
  },
  {
    title: "engine: it could not be reached, and the publish failed",
    reason: "rejected",
    says: /503/,
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      on.input({ type: "engine_down", shard: 0 });
      const publish = on.publish(ROOM);
      on.now += 3001;
      return [publish, on.input({ type: "timer_fired" }) + 1];
    },
  },
  {
    title: "it held its token, and subscribed with it later",
    reason: "late",
    make(on) {
      on.register("t1", ROOM);
      on.frame(1, { type: "send", token: "t1", channel: "chat", params: ROOM, data: 1 });
      const publish = on.publish(ROOM);
      return [publish, on.frame(1, { type: "subscribe", token: "t1" })];
    },
  },
  {
    title: "its token exists again, but the connection had too many",
    reason: "refused",
    says: /^[^(]*\(tokens_per_client_max\)\.$/,
    config: { tokens_per_client_max: 1 },
    make(on) {
      on.subscribe(1, "t1", ROOM);
      on.frame(1, { type: "unsubscribe", token: "t1" });
      on.subscribe(1, "t2", { roomId: "2" });
      on.register("t1", ROOM);
      const proof = on.frame(1, { type: "subscribe", token: "t1" }) + 1;
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "its socket was closed soon afterwards by a drain, after the message",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.publish(ROOM);
      on.input({ type: "draining", ms: 10_000 });
      on.now += 10_001;
      on.input({ type: "timer_fired" });
      on.close(1);
      return [publish, publish + 1];
    },
  },
  {
    title: "it was restored without a subscription",
    reason: "never",
    says: /^Not subscribed when it was restored, nor since\./,
    client: 2,
    make(on) {
      const proof = on.input({ type: "restore_client", client: 2, record: "{ }" });
      return [on.publish(ROOM), proof];
    },
  },
  {
    title: "the path of the publish has a query",
    reason: "delivered",
    make(on) {
      on.subscribe(1, "t1", ROOM);
      const publish = on.post("/message?from=test", { channel: "chat", params: ROOM, data: 1 });
      return [publish, publish + 1];
    },
  },
  {
    title: "it was told of the change when it listened with a position",
    reason: "recovered",
    topic: "resource:todo/1",
    make(on) {
      on.frame(1, { type: "listen", id: 1, resources: [], hello: "0123456789abcdef" });
      const { epoch, at } = welcomeOf(on);
      const publish = on.post("/resources", { resources: ["todo/1"] });
      const message = { type: "listen", id: 2, resources: ["todo/1"], since: at, epoch };
      return [publish, on.frame(1, message) + 2];
    },
  },
  {
    title: "engine: it missed the message, and recovered it with a position",
    reason: "recovered",
    config: ENGINE,
    make(on) {
      up(on);
      on.frame(1, { type: "listen", id: 1, resources: [], hello: "0123456789abcdef" });
      const { epoch } = welcomeOf(on);
      const body = `5001 ${TEXT}`;
      const back = on.input({ type: "engine_message", shard: 0, topic: TOPIC, body });
      on.frame(1, { type: "subscribe", id: 2, token: "t1", since: 5000, epoch });
      answer(on, "engine_run", ["ok", RECORD, "4000", "5000", "0"]);
      answer(on, "engine_join", []);
      return [back, answer(on, "engine_run", ["5001", "ok", "5001", TEXT]) + 4];
    },
  },
  {
    title: "engine: the message came after a loss of the connection",
    reason: "recovered",
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      const publish = on.publish(ROOM);
      answer(on, "engine_run", ["5001"]);
      on.input({ type: "engine_down", shard: 0 });
      up(on);
      answer(on, "engine_join", []);
      answer(on, "engine_run", ["5001", "0"]);
      return [publish, answer(on, "engine_run", ["5001", "ok", "5001", TEXT]) + 1];
    },
  },
  {
    title: "engine: the change was told after a loss of the connection",
    reason: "recovered",
    says: /when the connection to the engine was back/,
    config: ENGINE,
    make(on) {
      up(on);
      on.frame(1, { type: "listen", resources: ["todo/1"] });
      answer(on, "engine_join", []);
      const publish = on.post("/resources", { resources: ["todo/1"] });
      answer(on, "engine_run", ["5001"]);
      on.input({ type: "engine_down", shard: 0 });
      up(on);
      answer(on, "engine_join", []);
      return [publish, answer(on, "engine_run", ["5001", "0"]) + 1];
    },
  },
  {
    title: "engine: the message waited for those before it",
    reason: "recovered",
    config: ENGINE,
    make(on) {
      up(on);
      subscribeByEngine(on, 1);
      on.input({ type: "engine_down", shard: 0 });
      up(on);
      answer(on, "engine_join", []);
      const body = `5002 ${TEXT}`;
      const back = on.input({ type: "engine_message", shard: 0, topic: TOPIC, body });
      return [back, answer(on, "engine_run", ["5001"]) + 1];
    },
  },
  {
    title: "engine: its subscribe still waited when another message of it failed",
    reason: "waiting",
    config: ENGINE,
    make(on) {
      up(on);
      on.register("t1", ROOM);
      answer(on, "engine_run", ["ok"]);
      on.frame(1, { type: "send", token: "t1", channel: "chat", params: ROOM, data: 1 });
      answer(on, "engine_run", ["ok", RECORD, "4000", "5000", "0"]);
      const proof = on.frame(1, { type: "subscribe", token: "t1" });
      const forward = Number(on.latest("forward")["forward"]);
      on.input({ type: "forward_done", forward, status: 500, body: "", outcome: 0 });
      const body = `5001 ${TEXT}`;
      return [on.input({ type: "engine_message", shard: 0, topic: TOPIC, body }), proof];
    },
  },
];

describe("why not", () => {
  for (const { title, reason, make, says, config, topic, client = 1 } of cases) {
    it(`${reason}: ${title}`, () => {
      const recorder = new Recorder(config).begin();
      recorder.open(1);
      const [publish, proof] = make(recorder);
      const found = answerOf(recorder, publish, client, topic);
      assert.equal(found.reason, reason, `${found.text}\n${recorder.text}`);
      const line = found.line === undefined ? undefined : found.line + 1;
      assert.equal(line, proof, `${found.text}\n${recorder.text}`);
      if (says !== undefined) assert.match(found.text, says);
    });
  }

  it("has a case for each reason", () => {
    assert.deepEqual([...new Set(cases.map((one) => one.reason))].sort(), [...REASONS].sort());
  });
});
