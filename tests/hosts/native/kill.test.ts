// kill -9 with --data: whatever was in progress, the next process knows everything that was
// acknowledged.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import * as http from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { startAppServer } from "../shared/support/app-server.ts";
import { request, TestClient } from "../shared/support/sidekick.ts";
import { cleanUp, newFolder, run } from "./support/server.ts";

after(cleanUp);

const LANES = 8;
const TAKEN_PER_CLIENT = 200; // its capacity is 256
const GONE = "given back";

/**
 * The possible states of each token: the room it was registered for, or GONE. Several while a
 * request about it is in flight.
 */
type Known = Map<string, Set<string>>;

/** The next message of this type; published messages may come in between. */
async function until(client: TestClient, type: string): Promise<any> {
  for (;;) {
    const message = await client.next();
    if (message.type === type) return message;
    assert.ok(message.type === "message" || message.type === "updated", JSON.stringify(message));
  }
}

/** Registers, replaces, takes, unsubscribes, sends and publishes until the process is gone. */
class Load {
  acknowledged = 0;
  readonly #agent = new http.Agent({ keepAlive: true });

  constructor(
    readonly port: number,
    readonly name: string,
    readonly known: Known,
    readonly kill: (load: Load) => boolean,
  ) {}

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: LANES }, (_, lane) => this.#runLane(lane)));
    this.#agent.destroy();
  }

  async #runLane(lane: number): Promise<void> {
    try {
      const client = await TestClient.connect(this.port); // the others may have ended it by now
      client.send({ type: "listen", resources: ["r"] });
      await until(client, "listening");
      for (let i = 0; ; i++) await this.#step(client, `${this.name}-${lane}-${i}`, i);
    } catch (error) {
      if (!this.kill(this)) throw error;
    }
  }

  async #step(client: TestClient, token: string, i: number): Promise<void> {
    await this.#register(token, "first");
    if (i % 5 === 1) await this.#register(token, "second");
    if (i % 5 < 2) return;
    client.send({ type: "subscribe", token });
    await until(client, "subscribed");
    if (i % 5 === 2) return;
    if (i % 5 === 3) {
      client.send({ type: "send", token, channel: "chat", params: { room: "first" }, data: i });
      await this.#post("/message", { channel: "chat", params: { room: "first" }, data: i });
      await this.#post("/resources", { resources: ["r"] });
      return;
    }
    this.known.get(token)!.add(GONE);
    client.send({ type: "unsubscribe", token });
    await until(client, "unsubscribed");
    this.known.set(token, new Set([GONE]));
    this.#acknowledge();
  }

  async #register(token: string, room: string): Promise<void> {
    this.known.set(token, (this.known.get(token) ?? new Set([GONE])).add(room));
    await this.#post("/connection", {
      token,
      channel: "chat",
      params: { room },
      context: { token },
    });
    this.known.set(token, new Set([room]));
    this.#acknowledge();
  }

  async #post(path: string, body: object): Promise<void> {
    assert.equal(
      (await request(this.port, path, JSON.stringify(body), { agent: this.#agent })).status,
      200,
    );
  }

  #acknowledge(): void {
    this.acknowledged++;
    this.kill(this);
  }
}

/**
 * Takes every existing token and checks that its state is one of the possible ones. Afterwards the
 * state is known.
 */
async function check(port: number, known: Known): Promise<void> {
  let client = await TestClient.connect(port);
  let taken = 0;
  for (const [token, may] of known) {
    if (++taken % TAKEN_PER_CLIENT === 0) client = await TestClient.connect(port);
    client.send({ type: "subscribe", token });
    const answer = await client.next();
    const is = answer.type === "subscribed" ? answer.params.room : GONE;
    assert.ok(
      may.has(is),
      `${token}: expected ${[...may].join(" or ")}, got ${JSON.stringify(answer)}`,
    );
    if (is === GONE) assert.match(answer.error.message, /^invalid token/);
    known.set(token, new Set([is]));
  }
  await client.settled();
}

test("repeated kills under mixed load lose no acknowledged token, revive no unsubscribed one, and keep the last registration", async () => {
  const data = await newFolder();
  const app = await startAppServer();
  const known: Known = new Map();
  // No token may expire because the machine was slow.
  const config = join(data, "config.json");
  await writeFile(config, JSON.stringify({ token_ttl_ms: 3_600_000, token_resume_ms: 3_600_000 }));
  const start = () =>
    run(["--data", data, "--config", config, "--server-url", app.url, "--server-secret", "s"]);
  for (const acknowledged of [50, 400, 200]) {
    const server = start();
    const port = await server.port();
    await check(port, known);
    let isKilled = false;
    const kill = (load: Load) => {
      if (!isKilled && load.acknowledged >= acknowledged) {
        isKilled = true;
        void server.kill("SIGKILL");
      }
      return isKilled;
    };
    await new Load(port, `load-${acknowledged}`, known, kill).run();
    await server.exit;
  }
  const last = start();
  await check(await last.port(), known);
  assert.equal(await last.kill("SIGTERM"), 0);
  const gone = [...known.values()].filter((may) => may.has(GONE)).length;
  const figures = `${gone} tokens that may be gone, ${app.forwarded.length} forwards`;
  assert.ok(gone > 0 && app.forwarded.length > 0, figures);
  await app.close();
});
