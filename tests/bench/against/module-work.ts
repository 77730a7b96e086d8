// The daily work of a module through its C ABI: the work of core_work.hpp, with the same texts.
// Each work restores its hub to the state before, so that any number of rounds can follow.
import type { Block, ModuleHub } from "./border.js";

/** Runs one round and returns how many inputs it applied. */
export type Round = () => number;

const batch = 64;
const start = 1_700_000_000_000;
const scope = `"channel": "chat", "params": { "room": "lobby" }`;
const token = (client: number) => `00000000-0000-4000-8000-${String(client).padStart(12, "0")}`;
const registration = (client: number) =>
  `{ "token": "${token(client)}", ${scope}, "context": { "user": "ada" } }`;
const counted = (count: number) => Array.from({ length: count }, (_, i) => i);

function open(hub: ModuleHub, client: number, saysHello: boolean): void {
  hub.quietly(hub.layout.open(start, client));
  if (!saysHello) return;
  const hello = `{ "type": "listen", "id": 1, "resources": [], "hello": "${token(client)}" }`;
  hub.apply(hub.layout.frame(start, client, hello));
}

function subscribe(hub: ModuleHub, client: number): void {
  const { layout } = hub;
  hub.apply(layout.post(start, "/connection", registration(client)));
  hub.apply(layout.frame(start, client, `{ "type": "subscribe", "token": "${token(client)}" }`));
}

function apply(hub: ModuleHub, input: Block, tag: number): number {
  const action = hub.apply(input);
  if (hub.word(action) !== tag)
    throw new Error(`expected an action with tag ${tag}, got ${hub.word(action)}`);
  return action;
}

/** A client's message, about 150 bytes, on its way to the app server, and the app server's 204. */
function send(hub: ModuleHub): Round {
  const { layout } = hub;
  const clients = counted(batch);
  for (const client of clients) {
    hub.quietly(layout.open(start, client));
    subscribe(hub, client);
  }
  const data = `{ "text": "hello, everybody", "at": 1738000000000 }`;
  const frames = clients.map((client) => {
    const text = `{ "type": "send", "token": "${token(client)}", ${scope}, "data": ${data} }`;
    return layout.frame(start, client, text);
  });
  const answers = clients.map(() => layout.answer(start, 0));
  return () => {
    for (const client of clients) {
      const forward = apply(hub, frames[client]!, layout.forward);
      answers[client]!.words[layout.answerForward] = hub.word(forward + 1);
    }
    for (const answer of answers) hub.quietly(answer);
    return batch;
  };
}

function publish(
  subscribers: number,
  data: string,
  times: number,
  saysHello = false,
): (hub: ModuleHub) => Round {
  return (hub) => {
    const { layout } = hub;
    for (let client = 0; client < subscribers; client++) {
      open(hub, client, saysHello);
      subscribe(hub, client);
    }
    const input = layout.post(start, "/message", `{ ${scope}, "data": ${data} }`);
    return () => {
      for (let i = 0; i < times; i++) {
        const sent = apply(hub, input, layout.send);
        if (hub.word(sent + 2) !== subscribers)
          throw new Error(`expected ${subscribers} receivers, got ${hub.word(sent + 2)}`);
      }
      return times;
    };
  };
}

const text = `{ "text": "${"x".repeat(150)}" }`;

/** About 100 KB: the cost of reading and copying ION. */
const objects = `[${counted(800)
  .map(
    (id) =>
      `{ "id": ${id}, "title": "Water the plants on floor ${id % 17}", "done": ${id % 3 === 0}, ` +
      `"tags": ["home", "weekly"], "owner": { "name": "Ada Lovelace", "age": 36.5 } }`,
  )
  .join(", ")}]`;

/** POST /resources with one resource that one client listens to, among 50,000. */
function invalidate(hub: ModuleHub, saysHello = false): Round {
  const { layout } = hub;
  const inputs = counted(5000).map((client) => {
    open(hub, client, saysHello);
    const list = counted(10).map((i) => `"todo/${client * 10 + i}"`);
    hub.apply(
      layout.frame(start, client, `{ "type": "listen", "resources": [${list.join(", ")}] }`),
    );
    return layout.post(
      start,
      "/resources",
      `{ "resources": ["todo/${client * 10 + (client % 10)}"] }`,
    );
  });
  return () => {
    for (const input of inputs) apply(hub, input, layout.send);
    return inputs.length;
  };
}

/**
 * Each round registers a token and, since time advances, another one expires: 5,000 at any time.
 */
function register(hub: ModuleHub): Round {
  const { layout } = hub;
  const step = 300_000 / 5000; // token_ttl_ms
  const inputs = counted(10_000).map((client) =>
    layout.post(start, "/connection", registration(client)),
  );
  let now = start;
  return () => {
    for (const input of inputs) {
      now += step;
      input.words[1] = now >>> 0;
      input.words[2] = Math.floor(now / 2 ** 32);
      hub.apply(input);
    }
    return inputs.length;
  };
}

function listen(hub: ModuleHub): Round {
  const { layout } = hub;
  const inputs = counted(batch).flatMap((client) => {
    hub.quietly(layout.open(start, client));
    const list = counted(10).map((i) => `"todo/${client * 5 + i}"`);
    return ["listen", "unlisten"].map((type) =>
      layout.frame(start, client, `{ "type": "${type}", "resources": [${list.join(", ")}] }`),
    );
  });
  return () => {
    for (const input of inputs) hub.apply(input);
    return batch;
  };
}

export const works: Readonly<Record<string, (hub: ModuleHub) => Round>> = {
  "one send frame": send,
  "one publish": publish(1, text, batch),
  "one publish, hello": publish(1, text, batch, true),
  "one publish to 100": publish(100, text, batch),
  "one publish to 100, hello": publish(100, text, batch, true),
  "one publish to 1,000": publish(1000, text, batch),
  "one publish of 100 KB": publish(1, objects, 1),
  "POST /resources, 1 of 5,000 x 10": (hub) => invalidate(hub),
  "POST /resources, 1 of 5,000 x 10, hello": (hub) => invalidate(hub, true),
  "POST /connection, and the end of a token": register,
  "listen to 10 resources, unlisten to 10 resources": listen,
};
