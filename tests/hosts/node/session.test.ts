// The session that all hosts in TypeScript share, between a hub and an Io that tests control.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Action, Input } from "../../../worker/src/module/border.generated.ts";
import type { HubLike } from "../../../worker/src/module/hub.ts";
import { Hub, text } from "../../../worker/src/module/hub.ts";
import type { Io } from "../../../worker/src/session/io.ts";
import { Session } from "../../../worker/src/session/session.ts";
import { module } from "../shared/support/sidekick.ts";
import { watched } from "../shared/support/watched-hub.ts";

/** The host: writes down what it is asked, and fails or calls back as a test says. */
class World implements Io {
  readonly said: string[] = [];
  readonly inputs: Input[] = [];
  readonly clients = new Set<number>();
  readonly tokens = new Map<string, { state: number; expires_at: number; record: Uint8Array }>();
  recording: Io["recording"];
  /** Of each report: its input, and its place in the recording. */
  places: string[] = [];
  /** Called before an action is performed; an error that it throws is the action's. */
  before: (action: string) => void = () => {};
  /** Called before each input; an error that it throws is a trap. */
  trap: (input: Input) => void = () => {};
  create: () => HubLike = () => Hub.create(module, '{"secrets":["s"]}');
  session = new Session(this);

  now = () => 1000;
  createHub(): HubLike {
    return watched(this.create(), (_now, input) => {
      this.inputs.push(input);
      this.trap(input);
    });
  }
  *storedTokens() {
    for (const [key, token] of this.tokens)
      yield { type: "restore_token", key: Buffer.from(key), ...token } as const;
  }
  *openClients() {
    for (const client of this.clients)
      yield { type: "restore_client", client, record: "" } as const;
  }
  forgetTokens(): void {
    this.#do("forget");
    this.tokens.clear();
  }
  report(message: string, error: unknown, at: { readonly [name: string]: string } = {}): void {
    this.places.push(`${at["input"]}: ${at["recording"]}`);
    this.said.push(`report ${message}: ${error instanceof Error ? error.message : String(error)}`);
  }
  put_token({ key, state, expires_at, record }: Action & { type: "put_token" }): void {
    this.#do("put");
    this.tokens.set(text(key), { state, expires_at, record: record.slice() });
  }
  touch_token(): void {
    this.#do("touch");
  }
  erase_token({ key }: Action & { type: "erase_token" }): void {
    this.#do("erase");
    this.tokens.delete(text(key));
  }
  attach_client(): void {
    this.#do("attach");
  }
  send(action: Action & { type: "send" }): void {
    this.#do(`send ${[...action.clients]} ${JSON.parse(text(action.text)).type}`);
  }
  respond({ request, status }: Action & { type: "respond" }): void {
    this.#do(`respond ${request} ${status}`);
  }
  forward(): void {
    this.#do("forward");
  }
  cancel_forward(): void {
    this.#do("cancel");
  }
  close({ client, code }: Action & { type: "close" }): void {
    this.#do(`close ${client} ${code}`);
    this.clients.delete(client);
  }
  set_timer(): void {
    this.before("timer");
  }

  open(client: number): void {
    this.clients.add(client);
    this.session.apply({ type: "client_opened", client });
  }
  frame(client: number, message: object): void {
    const bytes = JSON.stringify(message);
    this.session.apply({ type: "client_frame", client, bytes, is_text: 1 });
  }
  post(request: number, path: string, body: object): void {
    this.session.apply(posted(request, path, JSON.stringify(body)));
  }
  /** The events since the last call. */
  heard(): string[] {
    return this.said.splice(0);
  }
  types(): string[] {
    return this.inputs.splice(0).map(({ type }) => type);
  }

  #do(action: string): void {
    this.before(action);
    this.said.push(action);
  }
}

const posted = (request: number, path: string, body: string): Input & { type: "http_request" } => ({
  type: "http_request",
  request,
  method: "POST",
  path,
  authorization: "Bearer s",
  headers: "",
  body_bytes: body.length,
  body,
});

const PING = { type: "ping" };
const TOKEN = { token: "token-0123456789", channel: "c", params: {} };
const refusing =
  (...refused: string[]) =>
  (action: string) => {
    if (refused.includes(action)) throw new Error("the disk is full");
  };

test("inputs that performing an action causes wait until all its actions are performed", () => {
  const world = new World();
  for (const client of [1, 2]) world.open(client);
  world.frame(1, { type: "listen", resources: ["a", "b"] });
  world.frame(2, { type: "listen", resources: ["a"] });
  world.heard();
  world.before = (action) => {
    if (action === "send 1,2 updated") world.frame(2, PING);
    if (action === "send 2 pong") world.frame(1, PING);
  };
  world.post(1, "/resources", { resources: ["a", "b"] });
  assert.deepEqual(world.heard(), [
    "send 1,2 updated",
    "send 1 updated",
    "respond 1 200",
    "send 2 pong",
    "send 1 pong",
  ]);
});

for (const [what, act] of [
  ["a restart", (world: World) => world.session.restart()],
  ["a trap", (world: World) => world.session.apply({ type: "timer_fired" })],
  ["a request", (world: World) => void world.session.admit(posted(5, "/message", ""))],
] as const) {
  test(`inputs that a restore causes wait until the hub is restored: ${what}`, () => {
    const world = new World();
    world.open(1);
    world.post(1, "/connection", TOKEN);
    world.session.apply({ type: "shutting_down" });
    const broken = () => {
      throw new Error("unreachable");
    };
    const { create } = world;
    if (what === "a request") {
      world.create = () => Object.assign(create(), { admit: broken });
      world.session.restart();
      world.create = create;
    }
    world.trap = ({ type }) => type === "timer_fired" && broken();
    world.before = (action) => {
      if (/^(timer|respond)/.test(action)) world.frame(1, PING);
    };
    world.heard();
    world.types();
    act(world);
    const types = world.types();
    const start = types.indexOf("begin");
    assert.deepEqual(types.slice(start, -1), [
      ...["begin", "restore_token", "restore_client", "restored", "shutting_down"],
      ...types.slice(start + 5, -1).map(() => "client_frame"),
    ]);
    assert.equal(types.at(-1), "client_frame");
  });
}

test("begin comes first, restored after the stored records, also after a trap", () => {
  const world = new World();
  world.tokens.set("token", { state: 0, expires_at: 5000, record: Buffer.from("damaged") });
  world.clients.add(7);
  world.session.wake();
  assert.deepEqual(world.types(), ["begin", "restore_token", "restore_client", "restored"]);
  assert.deepEqual([world.heard(), world.tokens.size], [["erase"], 0]);
  world.session.apply({ type: "shutting_down" });
  world.trap = ({ type }) => {
    if (type === "timer_fired") throw new Error("unreachable");
  };
  world.session.apply({ type: "timer_fired" });
  assert.deepEqual(world.types().slice(-4), [
    "begin",
    "restore_client",
    "restored",
    "shutting_down",
  ]);
});

test("a drain goes on after a trap, for the time left", () => {
  const world = new World();
  for (const client of [1, 2, 3, 4, 5]) world.open(client);
  world.session.apply({ type: "draining", ms: 10_000 });
  world.trap = ({ type }) => {
    if (type === "timer_fired") throw new Error("unreachable");
  };
  world.heard();
  for (const [time, left] of [
    [7_000, 4_000],
    [12_000, 0],
  ] as const) {
    world.now = () => time;
    world.session.apply({ type: "timer_fired" });
    const draining = world.inputs.filter(({ type }) => type === "draining").at(-1);
    assert.deepEqual(draining, { type: "draining", ms: left });
  }
  assert.deepEqual(
    world.heard().filter((said) => said.startsWith("close")),
    [1, 2, 3, 4, 5].map((client) => `close ${client} 4001`),
  );
  assert.equal(world.clients.size, 0);
});

test("each hub has another epoch", () => {
  const world = new World();
  world.session.wake();
  world.session.restart();
  const epochs = world.inputs.flatMap((input) => (input.type === "begin" ? input.epoch : []));
  assert.equal(new Set(epochs).size, 2);
  for (const epoch of epochs) assert.ok(Number.isSafeInteger(epoch) && epoch > 0, `${epoch}`);
});

for (const [what, broken, act, expected] of [
  [
    "a registration: the request gets 503",
    "put",
    (world: World) => world.post(1, "/connection", TOKEN),
    ["erase", "respond 1 503"],
  ],
  [
    "an unsubscribe: its sender gets 1011",
    "erase",
    (world: World) => world.frame(1, { type: "unsubscribe", token: TOKEN.token }),
    ["attach", "close 1 1011"],
  ],
  [
    "a send: nothing is forwarded, and its sender gets 1011",
    "touch",
    (world: World) => world.frame(1, { ...TOKEN, type: "send", data: 1 }),
    ["attach", "attach", "close 1 1011"],
  ],
] as const) {
  test(`a change that could not be stored is not confirmed: ${what}`, () => {
    const world = new World();
    world.open(1);
    if (broken !== "put") world.post(9, "/connection", TOKEN);
    world.heard();
    world.types();
    world.before = (action) => {
      refusing(broken)(action);
      if (action.startsWith("attach")) world.session.apply({ type: "timer_fired" });
    };
    act(world);
    const said = world.heard();
    assert.match(said.find((line) => line.startsWith("report")) ?? "", /the disk is full/);
    assert.deepEqual(
      said.filter((line) => !line.startsWith("report")),
      expected,
    );
    const types = world.types();
    assert.equal(types[1], "not_stored", "before inputs that waited");
    assert.equal(types.includes("forward_done"), broken === "touch");
  });
}

test("a token whose unsubscribe is lost is erased as soon as the storage works", () => {
  const world = new World();
  world.open(1);
  world.post(1, "/connection", TOKEN);
  world.before = (action) => {
    if (action !== "erase") return;
    world.before = () => {};
    throw new Error("the disk is full");
  };
  world.heard();
  world.frame(1, { type: "unsubscribe", token: TOKEN.token });
  assert.deepEqual(world.heard().slice(1), ["erase", "attach", "close 1 1011"]);
  assert.equal(world.tokens.size, 0);
});

test("a failed action that is not durable, or not a store, changes nothing", () => {
  const world = new World();
  world.open(1);
  world.post(1, "/connection", TOKEN);
  world.frame(1, { type: "subscribe", token: TOKEN.token });
  world.types();
  world.before = refusing("touch");
  world.session.apply({ type: "client_closed", client: 1 });
  assert.deepEqual(world.types(), ["client_closed"]);
  world.open(2);
  world.before = refusing("send 2 pong");
  world.frame(2, PING);
  world.before = () => {};
  world.heard();
  world.frame(2, PING);
  assert.deepEqual(world.heard(), ["send 2 pong"]);
});

test("an error of the recording ends the recording, and is not a trap", () => {
  for (const failing of ["begin", "write", "restored"]) {
    const world = new World();
    let calls = 0;
    const call = (name: string) => {
      calls++;
      if (name === failing) throw new Error("the disk is full");
    };
    world.recording = {
      isActive: true,
      place: () => "nowhere",
      begin: () => call("begin"),
      write: () => call("write"),
      restored: () => call("restored"),
    };
    world.open(1);
    calls = 0;
    world.frame(1, PING);
    assert.deepEqual(
      [world.heard(), calls, world.types()],
      [
        ["report the recording failed and ends here: the disk is full", "send 1 pong"],
        0,
        ["begin", "restored", "client_opened", "client_frame"],
      ],
    );
  }
});

test("a new hub gets nothing that came from the connections to the engine of the last one", () => {
  const world = new World();
  world.session.apply({ type: "engine_up", shard: 0, kept: 0 });
  assert.deepEqual(world.types(), ["begin", "restored", "engine_up"], "the first one starts it");
  world.open(1);
  world.trap = ({ type }) => {
    if (type === "client_frame") throw new Error("unreachable");
  };
  const create = world.create;
  world.create = () => {
    throw new Error("no room");
  };
  world.frame(1, PING);
  world.create = create;
  world.types();
  const up = { type: "engine_up", shard: 0, kept: 0 } as const;
  world.session.apply(up);
  assert.deepEqual(world.types(), ["begin", "restored"]);
  world.session.apply(up);
  assert.deepEqual(world.types(), ["engine_up"]);
  // One that comes while actions are performed waits; meanwhile the hub traps.
  world.before = (action) => {
    if (action === "close 1 1011") world.session.apply({ type: "engine_down", shard: 0 });
  };
  world.clients.add(1);
  world.frame(1, PING);
  assert.deepEqual(world.types(), ["client_frame", "begin", "restored"]);
});

test("after a trap, failing actions do not prevent the next hub", () => {
  const world = new World();
  for (const client of [1, 2]) world.open(client);
  world.trap = (input) => {
    if (input.type === "client_frame" && input.client === 1) throw new Error("unreachable");
  };
  world.before = refusing("close 1 1011");
  world.frame(1, PING);
  world.frame(2, PING);
  assert.deepEqual(world.heard(), [
    "report the hub trapped and is replaced; please report this: unreachable",
    "report an action failed: the disk is full",
    "send 2 pong",
  ]);
});

test("after a trap only the sender is closed; requests that the hub owes an answer get 500", () => {
  const world = new World();
  for (const client of [1, 2]) world.open(client);
  // A hub that answers request 1 later.
  world.create = () => {
    const hub = Hub.create(module, '{"secrets":["s"]}');
    const handle = (now: number, input: Input) =>
      input.type === "http_request" && input.request === 1 ? [] : hub.handle(now, input);
    return Object.assign(
      watched(hub, () => {}),
      { handle },
    );
  };
  world.session.restart();
  world.post(1, "/resources", { resources: [] });
  assert.equal(world.session.isAnswering, true);
  world.heard();
  world.trap = (input) => {
    if (input.type === "client_frame" && input.client === 2) throw new Error("unreachable");
  };
  world.frame(2, PING);
  assert.deepEqual(world.heard(), [
    "report the hub trapped and is replaced; please report this: unreachable",
    "close 2 1011",
    "respond 1 500",
  ]);
  assert.equal(world.session.isAnswering, false);
  world.frame(1, PING);
  assert.deepEqual(world.heard(), ["send 1 pong"]);
});

test("records that trap every hub are dropped, and the session goes on without them", () => {
  const world = new World();
  world.open(1);
  world.post(1, "/connection", TOKEN);
  world.trap = ({ type }) => {
    if (type === "restore_token" || type === "timer_fired") throw new Error("unreachable");
  };
  world.heard();
  world.session.apply({ type: "timer_fired" });
  assert.deepEqual(
    world.heard().filter((line) => !line.startsWith("report")),
    ["forget", "close 1 1011"],
  );
  world.open(2);
  world.frame(2, PING);
  assert.deepEqual(world.heard(), ["send 2 pong"]);
});

test("records that trap every hub and cannot be dropped now are dropped later", () => {
  const world = new World();
  world.open(1);
  world.post(1, "/connection", TOKEN);
  world.trap = ({ type }) => {
    if (type === "restore_token" || type === "timer_fired") throw new Error("unreachable");
  };
  world.heard();
  world.before = refusing("forget");
  world.session.apply({ type: "timer_fired" });
  world.frame(1, PING);
  world.before = () => {};
  world.open(2); // it has nothing to lose: it stays
  world.frame(2, PING);
  assert.deepEqual(
    world.heard().filter((line) => !line.startsWith("report")),
    ["close 1 1011", "forget", "send 2 pong"],
  );
});

test("a hub that traps in admission is replaced, and the request gets a 500", () => {
  const world = new World();
  world.create = () =>
    Object.assign(
      watched(Hub.create(module, '{"secrets":["s"]}'), () => {}),
      {
        admit() {
          throw new Error("unreachable");
        },
      },
    );
  world.session.wake();
  world.session.restart();
  assert.equal(world.session.admit(posted(5, "/message", "")), undefined);
  const heard = world.heard();
  assert.ok(heard.includes("respond 5 500"), heard.join("\n"));
  assert.equal(world.types().at(-1), "restored");
});

test("without a hub, each input tries to create one, and its sender gets 503 or 1011", () => {
  const world = new World();
  const { create } = world;
  for (const client of [1, 2, 3]) world.open(client);
  world.trap = (input) => {
    if (input.type === "client_frame" && input.client === 1) throw new Error("unreachable");
  };
  world.create = () => {
    throw new RangeError("out of memory");
  };
  world.frame(1, PING);
  world.frame(2, PING);
  world.post(4, "/resources", { resources: [] });
  world.session.apply({ type: "timer_fired" });
  assert.equal(world.session.admit(posted(5, "/resources", "")), undefined);
  assert.deepEqual(world.heard(), [
    "report the hub trapped and is replaced; please report this: unreachable",
    "close 1 1011",
    "report there is no hub; each input tries again: out of memory",
    "close 2 1011",
    "respond 4 503",
    "respond 5 503",
  ]);
  world.create = create;
  world.types();
  world.open(4); // restores client 3, and opens 4 once
  assert.deepEqual(world.types(), ["begin", "restore_client", "restored", "client_opened"]);
  for (const client of [3, 4]) world.frame(client, PING);
  assert.deepEqual(world.heard(), ["send 3 pong", "send 4 pong"]);
});

test("the trapped hub is released before the next one is created", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const world = new World();
  let last: WeakRef<HubLike> | undefined;
  let isGone: boolean | undefined;
  world.create = () => {
    const hub = Hub.create(module, '{"secrets":["s"]}');
    if (last !== undefined) {
      collect();
      isGone = last.deref() === undefined;
    }
    last = new WeakRef(hub);
    return hub;
  };
  world.session.wake();
  world.session.restart();
  world.open(1);
  await nextTurn(); // a WeakRef holds its target for the rest of the turn
  world.trap = ({ type }) => {
    if (type === "client_frame") throw new Error("unreachable");
  };
  world.frame(1, PING);
  assert.equal(isGone, true);
});

test("the input at which a hub trapped ends its recording, and an inactive recording stops", () => {
  const world = new World();
  const lines: string[] = [];
  let isActive = true;
  world.recording = {
    get isActive() {
      return isActive;
    },
    place: (epoch) => `line ${lines.length + 1} with epoch ${epoch}`,
    begin: (line) => void lines.push(`begin ${text(line).slice(0, 10)}`),
    write: (some) => void lines.push(...text(some).trimEnd().split("\n")),
    restored: () => void lines.push("restored"),
  };
  world.session.restart();
  world.open(1);
  world.trap = ({ type }) => {
    if (type === "timer_fired") throw new Error("unreachable");
  };
  world.session.apply({ type: "timer_fired" });
  const told = lines.map((line) => /^\{"(?:in|out)":"(\w+)"/.exec(line)?.[1] ?? line);
  const start = ['begin {"trace":2', "begin"];
  assert.deepEqual(told, [
    ...[...start, "restored", "restored", "client_opened"],
    ...["timer_fired", ...start, "restore_client", "restored", "restored"],
  ]);
  isActive = false;
  world.session.apply({ type: "client_lagging", client: 1, buffered_bytes: 1 });
  lines.length = 0;
  world.session.apply({ type: "client_lagging", client: 1, buffered_bytes: 1 });
  assert.deepEqual(lines, []);
  world.session.apply({ type: "timer_fired" });
  assert.equal(lines[0], 'begin {"trace":2', "nothing behind a gap");
});

test("the log of a trap names its line of the recording, or how to record", () => {
  const world = new World();
  const lines: string[] = [];
  const epochOf = (line: string) => JSON.parse(line).epoch;
  let isActive = true;
  world.recording = {
    get isActive() {
      return isActive;
    },
    place: (epoch) => `line ${lines.length + 1} with epoch ${epoch}`,
    begin: (line) => void lines.push(text(line)),
    write: (some) =>
      void lines.push(
        ...text(some)
          .split("\n")
          .filter((line) => line !== ""),
      ),
    restored: () => {},
  };
  world.session.restart();
  world.open(1);
  const traps = (type: Input["type"]) => (input: Input) => {
    if (input.type === type) throw new Error("unreachable");
  };
  const isAt = (place: string, type: Input["type"]) => {
    assert.equal(world.places.shift(), `${type}: ${place}`);
    const line = Number(/^line (\d+)/.exec(place)![1]);
    assert.equal(JSON.parse(lines[line - 1]!).in, type);
  };

  world.trap = traps("timer_fired");
  world.session.apply({ type: "timer_fired" });
  isAt(`line 5 with epoch ${epochOf(lines[1]!)}`, "timer_fired");

  // The stored records themselves: the recording has the one at which the restore trapped.
  world.trap = traps("restore_client");
  world.session.restart();
  const header = lines.map((line) => line.includes('"restore_client"')).lastIndexOf(true) - 2;
  isAt(`line ${header + 3} with epoch ${epochOf(lines[header + 1]!)}`, "restore_client");
  assert.match(lines[header + 3]!, /^\{"trace":2,/);

  world.trap = traps("timer_fired");
  isActive = false;
  world.session.apply({ type: "client_lagging", client: 1, buffered_bytes: 1 });
  world.session.apply({ type: "timer_fired" });
  assert.equal(world.places.shift(), "timer_fired: has ended");
  world.recording = undefined;
  world.session.apply({ type: "timer_fired" });
  assert.equal(world.places.shift(), "timer_fired: none");
});
