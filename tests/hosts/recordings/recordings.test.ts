// A live recording from any host replays on every other. The demo in a browser and a load run go
// through the Node host, the Worker and the native host, and two nodes share an engine. Then each
// recording is replayed natively, in Node, in workerd and in wasmtime, whole and truncated
// anywhere. SEED= gives another run; RECORDINGS=FOLDER keeps the recordings.
import assert from "node:assert/strict";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Inspector } from "../../inspector/support/page.ts";
import { root, run } from "../../module/support.ts";
import type { WorkerdSidekick } from "../cloudflare/support/sidekick.ts";
import { startSidekick } from "../cloudflare/support/sidekick.ts";
import { closeEverything } from "../shared/support/left-open.ts";
import { cutsOf, succeededVerdictOf, verdictOf } from "./cut.ts";
import { launchBrowser, recordDemo } from "./demo.ts";
import { recordEngine } from "./engine.ts";
import { endHosts, hosts } from "./hosts.ts";
import type { Load } from "./load.ts";
import { recordLoad } from "./load.ts";
import { players, verdicts } from "./players.ts";
import { random } from "./random.ts";
import type { Recording } from "./recording.ts";
import { content, describeRecording, readRecording } from "./recording.ts";
import type { Visitor } from "./visitor.ts";

const seed = Number(process.env["SEED"] ?? "1");
console.log(`SEED=${seed}`);
const folder = mkdtempSync(join(tmpdir(), "sidekick-recordings-"));
let workerd: WorkerdSidekick;
const recordings: string[] = [];

before(async () => void (workerd = await startSidekick()));
after(async () => {
  const kept = process.env["RECORDINGS"];
  if (kept !== undefined) cpSync(folder, kept, { recursive: true });
  await endHosts();
  await workerd?.stop();
  await closeEverything();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Minimum counts in the recording of any host, and of some hosts, so that its replay is meaningful.
 */
const demoInputs = {
  client_opened: 4,
  client_frame: 19,
  client_closed: 1,
  http_request: 20,
  forward_done: 9,
};
const loadInputs = {
  client_opened: 240,
  client_frame: 3000,
  client_closed: 30,
  http_request: 700,
  forward_done: 500,
  timer_fired: 1,
};
const engineInputs = {
  client_opened: 4,
  client_frame: 20,
  http_request: 10,
  forward_done: 10,
  engine_up: 2,
  engine_down: 1,
  engine_answer: 20,
  engine_message: 20,
  shutting_down: 1,
};
const ownInputs = {
  node: { demo: { shutting_down: 2 }, load: { client_lagging: 1, shutting_down: 1 } },
  worker: {
    demo: { restore_token: 2, restore_client: 2 },
    load: { restore_token: 200, restore_client: 200 },
  },
  wasmtime: {
    demo: { shutting_down: 2, restore_token: 2 },
    load: { client_lagging: 1, shutting_down: 1 },
  },
};

test("records the demo in two browser tabs", async (t) => {
  const browser = await launchBrowser();
  try {
    for (const host of hosts) {
      await t.test(host.name, async () => {
        const recording = keep(
          await recordDemo(browser, host, folderOf(`demo-${host.name}`)),
          `demo-${host.name}`,
        );
        assertInputs(recording, { ...demoInputs, ...ownInputs[host.name].demo });
        assert.ok(recording.hubs >= 2, "it was restarted");
      });
    }
  } finally {
    await browser.close();
  }
});

test("records a load run: everything that everyone sent and received, in order", async (t) => {
  for (const host of hosts) {
    await t.test(host.name, async () => {
      const load = await recordLoad(host, folderOf(`load-${host.name}`), seed);
      const recording = keep(load.file, `load-${host.name}`);
      assertInputs(recording, { ...loadInputs, ...ownInputs[host.name].load });
      assert.ok(recording.hashes > 0, `${recording.hashes} hashes`);
      assertTold(recording, load);
      assertRequests(recording, load);
    });
  }
});

test("records two nodes that share an engine", async () => {
  for (const [name, file] of Object.entries(await recordEngine(folderOf("engine"))))
    assertInputs(keep(file, `engine-${name}`), engineInputs);
});

test("the inspector opens each recording, and replays it in the page", async () => {
  const browser = await launchBrowser();
  try {
    const inspector = await Inspector.open(browser, folder);
    for (const name of recordings) {
      await inspector.show({ name, text: readFileSync(join(folder, name)) }, "#tab=verify");
      await inspector.panel.getByText("Replay", { exact: true }).click();
      const verdict = inspector.panel.locator(".verdict");
      await verdict.waitFor();
      assert.match((await verdict.textContent()) ?? "", /all actions equal\.$/, name);
      assert.deepEqual(inspector.complaints, [], name);
    }
  } finally {
    await browser.close();
  }
});

test("every recording replays everywhere, byte for byte", async (t) => {
  assert.equal(recordings.length, 2 * hosts.length + 2);
  for (const player of players(workerd)) {
    await t.test(player.name, async () => {
      const ran = await player.replay(recordings, folder);
      assert.equal(ran.stderr, "");
      assert.equal(ran.status, 0);
      const expected = recordings.map((name) => [
        name,
        { inputs: count(readRecording(join(folder, name))), cuts: [] },
      ]);
      assert.deepEqual(verdicts(ran.stdout), Object.fromEntries(expected));
    });
  }
});

test("a truncated recording is replayed up to its end, and the end is reported", async (t) => {
  const expected = Object.fromEntries(writeCuts());
  const { length } = Object.keys(expected);
  assert.ok(length >= 30, `only ${length} recordings`);
  for (const player of players(workerd)) {
    await t.test(player.name, async () => {
      const ran = await player.replay(Object.keys(expected), folder);
      assert.equal(ran.stderr, "");
      assert.equal(ran.status, 0);
      assert.deepEqual(verdicts(ran.stdout), expected);
    });
  }
});

test("a difference before the truncation is still found, with its line", async (t) => {
  const lines = readFileSync(join(folder, "demo-node.jsonl"), "utf8").split("\n").slice(0, 60);
  const at = lines.findIndex(
    (line) => line.startsWith('{"out":"send"') && line.includes("subscribed"),
  );
  const writeCut = (name: string, lines: readonly string[]) =>
    writeFileSync(join(folder, name), lines.join("\n").slice(0, -5));
  writeCut(
    "changed.jsonl",
    lines.map((line, i) => (i === at ? line.replace("subscribed", "subscribes") : line)),
  );
  writeCut(
    "missing.jsonl",
    lines.filter((_, i) => i !== at),
  );
  for (const player of players(workerd)) {
    await t.test(player.name, async () => {
      for (const name of ["changed", "missing"]) {
        const ran = await player.replay([`${name}.jsonl`], folder);
        assert.equal(ran.status, 1);
        assert.match(ran.stderr, new RegExp(`^${name}\\.jsonl:${at + 1}: `));
      }
    });
  }
});

test("shrink keeps of a node's recording what led to a message of a client that had moved", async () => {
  for (const name of ["engine-node", "engine-native"]) {
    const args = ["shrink", `${name}.jsonl`, "-o", `short-${name}.jsonl`];
    args.push("--until", 'says:\\"data\\": \\"moved\\"');
    const ran = await run(`${root}build/native/sidekick-trace`, args, folder);
    assert.equal(ran.status, 0, ran.stderr);
    const short = readRecording(join(folder, `short-${name}.jsonl`));
    assert.ok(count(short) <= 15, describeRecording(short));
    assert.ok((short.inputs.get("engine_answer") ?? 0) > 2, describeRecording(short));
  }
});

function folderOf(name: string): string {
  const own = join(folder, name);
  mkdirSync(own);
  return own;
}

/** Saves it next to the others, and prints its figures. */
function keep(file: string, name: string): Recording {
  renameSync(file, join(folder, `${name}.jsonl`));
  recordings.push(`${name}.jsonl`);
  const recording = readRecording(join(folder, `${name}.jsonl`));
  console.log(`${name}: ${describeRecording(recording)}`);
  return recording;
}

/** Truncated copies, some followed by a successor's recording; by name, the expected report. */
function* writeCuts() {
  const dice = random(seed);
  const successor = readFileSync(join(folder, "demo-wasmtime.jsonl"));
  const successorInputs = count(readRecording(join(folder, "demo-wasmtime.jsonl")));
  for (const [name, each] of [
    ["demo-node", 5],
    ["demo-worker", 1],
    ["engine-node", 1],
    ["load-wasmtime", 1],
  ] as const) {
    const whole = readFileSync(join(folder, `${name}.jsonl`));
    // Of a long recording the start suffices, up to the line after its first hash.
    const hash = whole.indexOf('\n{"hash"');
    const recording = hash < 0 ? whole : whole.subarray(0, whole.indexOf("\n", hash + 1) + 1);
    for (const bytes of cutsOf(recording, dice, each)) {
      const rest = recording.subarray(0, bytes);
      writeFileSync(join(folder, `${name}-${bytes}.jsonl`), rest);
      yield [`${name}-${bytes}.jsonl`, verdictOf(recording, bytes)] as const;
      if (each === 1) continue;
      // every host does the same when it continues a file
      const newline = Buffer.from(rest.at(-1) === 10 ? "" : "\n");
      writeFileSync(
        join(folder, `${name}-${bytes}-succeeded.jsonl`),
        Buffer.concat([rest, newline, successor]),
      );
      yield [
        `${name}-${bytes}-succeeded.jsonl`,
        succeededVerdictOf(recording, bytes, successorInputs),
      ] as const;
    }
  }
}

function count({ inputs }: Recording): number {
  return [...inputs.values()].reduce((sum, each) => sum + each, 0);
}

function assertInputs({ inputs }: Recording, atLeast: Record<string, number>): void {
  for (const [name, least] of Object.entries(atLeast)) {
    assert.ok(
      (inputs.get(name) ?? 0) >= least,
      `expected at least ${least} inputs ${name}, got ${inputs.get(name) ?? 0}`,
    );
  }
}

/**
 * The recording contains all frames and deliveries of everyone, in order. Of a dropped client, all
 * up to some point.
 */
function assertTold(recording: Recording, { visitors, stayed }: Load): void {
  const said = new Map<Visitor, Buffer[]>(visitors.map((visitor) => [visitor, []]));
  const heard = new Map<Visitor, string[]>(visitors.map((visitor) => [visitor, []]));
  const byName = new Map(visitors.map((visitor) => [visitor.said[0]!.toString("latin1"), visitor]));
  const present = new Map<number, Visitor>(); // a handle may be reused once its client has gone
  for (const line of recording.lines) {
    if (line.in === "client_opened") present.delete(line["client"] as number);
    if (line.in === "client_frame") {
      const bytes = content(line["bytes"]);
      const visitor = byName.get(bytes.toString("latin1"));
      if (visitor !== undefined) present.set(line["client"] as number, visitor);
      said.get(present.get(line["client"] as number)!)!.push(bytes);
    }
    if (line.out === "send")
      for (const client of line["clients"] as number[])
        heard.get(present.get(client)!)!.push(content(line["text"]).toString());
  }
  for (const visitor of visitors) {
    const [saidThere, heardThere] = [said.get(visitor)!, heard.get(visitor)!];
    const whole = stayed.has(visitor);
    assertSame(
      saidThere.map((bytes) => bytes.toString("latin1")),
      visitor.said.map((bytes) => bytes.toString("latin1")),
      `sent by ${visitor.name}`,
      whole ? undefined : saidThere.length,
    );
    assertSame(
      heardThere,
      visitor.heard,
      `received by ${visitor.name}`,
      whole ? undefined : visitor.heard.length,
    );
  }
  assert.ok(
    stayed.size > 100 && visitors.length > stayed.size,
    `${stayed.size} of ${visitors.length} stayed`,
  );
}

/**
 * All requests with their answers, and everything sent to the app server. A forward without an
 * answer may have timed out before it arrived.
 */
function assertRequests(recording: Recording, { posts, forwarded }: Load): void {
  const open = new Map<number, string>();
  const answered: string[] = [];
  const forwards = new Map<number, string>();
  const given: string[] = [];
  const taken: string[] = [];
  for (const line of recording.lines) {
    if (
      line.in === "http_request" &&
      line["authorized"] === true &&
      line["method"] === "POST" &&
      content(line["body"]).byteLength > 0
    ) {
      open.set(
        line["request"] as number,
        `${line["path"]} ${content(line["body"]).toString("base64")}`,
      );
    }
    if (line.out === "respond" && open.has(line["request"] as number)) {
      const request = open.get(line["request"] as number)!;
      open.delete(line["request"] as number);
      if (!request.startsWith("/nowhere")) answered.push(`${line["status"]} ${request}`);
    }
    if (line.out === "forward") {
      forwards.set(line["forward"] as number, content(line["body"]).toString());
      given.push(forwards.get(line["forward"] as number)!);
    }
    if (line.in === "forward_done" && line["status"] !== 0)
      taken.push(forwards.get(line["forward"] as number)!);
  }
  assertSame(
    answered.sort(),
    posts.map(({ path, body, status }) => `${status} ${path} ${body.toString("base64")}`).sort(),
    "requests with their answers",
  );
  assert.deepEqual(
    [...new Set(forwarded)].filter((body) => !given.includes(body)),
    [],
    "everything sent to the app server is recorded",
  );
  assert.deepEqual(
    [...new Set(taken)].filter((body) => !forwarded.includes(body)),
    [],
    "everything answered was sent",
  );
  // How many time out depends on the machine: a second is too short for a slow one.
  const figures = `${forwarded.length} of ${given.length} sent, ${taken.length} answered`;
  assert.ok(
    forwarded.length >= taken.length &&
      forwarded.length <= given.length &&
      taken.length > 0 &&
      taken.length < given.length,
    figures,
  );
  const statuses = new Set(posts.map(({ status }) => status));
  assert.ok(statuses.has(200) && statuses.has(400), `only statuses ${[...statuses]}`);
}

/**
 * Up to `length` if given. Reports where they differ: assert.deepEqual takes a minute for thousands
 * of texts.
 */
function assertSame(
  recorded: readonly string[],
  real: readonly string[],
  what: string,
  length?: number,
): void {
  const [one, other] = [recorded.slice(0, length), real.slice(0, length)];
  const at = one.findIndex((text, i) => text !== other[i]);
  const shown = (texts: readonly string[], i: number) => texts[i]?.slice(0, 300) ?? "nothing more";
  if (at >= 0)
    assert.fail(
      `${what}, ${at + 1} of ${other.length}:\n  recorded: ${shown(one, at)}\n  real:     ` +
        `${shown(other, at)}`,
    );
  assert.equal(
    one.length,
    other.length,
    `${what}: ${one.length} recorded, but not: ${shown(other, one.length)}`,
  );
}
