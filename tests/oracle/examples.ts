// One conversation for each intended difference. Its last step shows this difference and no other.
import type { Difference } from "./differences.ts";
import type { Step } from "./script.ts";

const one: Step = { do: "open", client: 1 };
const two: Step = { do: "open", client: 2 };
const post = (path: string, body: string): Step => ({ do: "post", path, body });
const frame = (client: number, text: string): Step => ({ do: "frame", client, text });
const register = (token: string, room = `"channel": "c", "params": { "room": "1" }`): Step =>
  post("/connection", `{ "token": "${token}", ${room}, "context": "of ${token}" }`);
const subscribe = (client: number, token = "t"): Step =>
  frame(client, `{ "type": "subscribe", "token": "${token}" }`);
const unsubscribe = (client: number, token = "t"): Step =>
  frame(client, `{ "type": "unsubscribe", "token": "${token}" }`);
const send = (client: number, data = "1", token = "t", params = `{ "room": "1" }`): Step =>
  frame(
    client,
    `{ "type": "send", "token": "${token}", "channel": "c", "params": ${params}, "data": ${data} }`,
  );
const publish = (params: string, more = ""): Step =>
  post("/message", `{ "channel": "c", "params": ${params}, "data": 1${more} }`);
const answer = (status: number, body = ""): Step => ({ do: "answer", forward: 0, status, body });
const wait = (ms: number): Step => ({ do: "wait", ms });

const room = `{ "room": "1" }`;

export const examples: Readonly<Record<Difference, readonly Step[]>> = {
  strictIon: [one, frame(1, `{ "type": "listen", "resources": [], "more": 1. }`)],
  resourcesIon: [post("/resources", `{ "resources": [], "at": date:2026-01-01 }`)],
  memberOnce: [one, frame(1, `{ "type": "listen", "resources": ["a"], "resources": ["b"] }`)],
  paramsAreAnObject: [
    post("/connection", `{ "token": "t", "channel": "c", "params": set { "a" } }`),
  ],
  limits: [one, frame(1, `{ "type": "listen", "resources": ["${"r".repeat(1025)}"] }`)],
  tokenText: [register("")],
  ping: [one, frame(1, `{"type":"ping"}`)],
  wording: [one, frame(1, "{{{")],
  unknownChannel: [one, subscribe(1, "nobody's")],
  namesChannel: [one, frame(1, `{ "type": "send", "channel": "c", "params": ${room} }`)],
  byteForByte: [one, register("t"), send(1, `"half \\ud800"`)],
  ownMembers: [one, register("t"), subscribe(1), publish(room, `, "type": "error"`)],
  updatedOnce: [
    one,
    frame(1, `{ "type": "listen", "resources": ["r"] }`),
    post("/resources", `{ "resources": ["r", "r"] }`),
  ],
  sendTakes: [one, two, register("t"), send(1), send(2)],
  subscribeAgain: [one, register("t"), subscribe(1), subscribe(1)],
  unsubscribeUnused: [one, register("t"), unsubscribe(1)],
  heldStays: [one, register("t"), subscribe(1), register("t")],
  tokenResume: [one, two, register("t"), subscribe(1), { do: "close", client: 1 }, subscribe(2)],
  tokenExpiry: [one, register("t"), wait(300_000), subscribe(1)],
  scope: [one, register("t"), send(1, "1", "t", `{ "room": "2" }`)],
  ownContext: [one, register("t"), register("u"), subscribe(1), subscribe(1, "u"), send(1)],
  lastTokenEnds: [
    one,
    register("t"),
    register("u"),
    subscribe(1),
    subscribe(1, "u"),
    unsubscribe(1, "u"),
    publish(room),
  ],
  topicNames: [
    one,
    register("t", `"channel": "c", "params": { "a": "1,b:2" }`),
    subscribe(1),
    publish(`{ "a": "1", "b": "2" }`),
  ],
  oneInFlight: [one, register("t"), send(1), send(1)],
  forwardTimeout: [one, register("t"), send(1), wait(30_000)],
  unreachable: [one, register("t"), send(1), answer(0)],
  ownWords: [
    one,
    register("t"),
    send(1),
    answer(400, `{ "fault": "client", "message": "you are muted" }`),
  ],
};
