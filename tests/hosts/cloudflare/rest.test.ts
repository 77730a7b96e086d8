// An idle object hibernates by itself ten seconds after its last event, whatever that was; only
// then does it cost nothing. Nothing evicts it here. Slow, because it waits for the runtime.
import assert from "node:assert/strict";
import type * as http from "node:http";
import { after, test } from "node:test";
import { startAppServer } from "../shared/support/app-server.ts";
import { closeEverything, request, settle, startSidekick, TestClient } from "./support/sidekick.ts";

/** A little more than the ten seconds after which the runtime hibernates an object. */
const REST_MS = 11_000;

after(closeEverything);

test("an idle object hibernates, and its clients do not notice", async () => {
  const held: http.ServerResponse[] = [];
  const app = await startAppServer((response, { body }) => {
    if (body.includes("open")) held.push(response);
    else if (!body.includes("hang")) response.writeHead(body.includes("fail") ? 500 : 204).end();
  });
  const names = [
    "frames",
    "forward",
    "failed-forward",
    "hung-forward",
    "bearer",
    "expiry",
    "closed",
    "trap",
    "open-forward",
  ];
  const hub = (name: string) => ({
    secret: "test-secret",
    server_url: app.url,
    limits: {
      auth_failure_delay_ms: 50,
      ...(name === "hung-forward" && { forward_timeout_ms: 500 }),
      ...(name === "open-forward" && { forward_timeout_ms: 300_000 }),
      ...(name === "expiry" && { token_ttl_ms: REST_MS + 4000 }),
    },
  });
  const sidekick = await startSidekick({
    env: {
      SIDEKICK_HUBS: JSON.stringify(Object.fromEntries(names.map((name) => [name, hub(name)]))),
    },
  });
  const { port } = sidekick;
  try {
    const clients = new Map<string, TestClient>();
    for (const name of names) {
      const headers = { Host: name };
      const post = (path: string, body: object) =>
        request(port, path, JSON.stringify(body), { headers });
      const client = await TestClient.connect(port, headers);
      clients.set(name, client);
      await post("/connection", { token: "token-of-the-test", channel: "chat", params: {} });
      client.send({ type: "listen", resources: ["todo/1"] });
      await client.next();
      const send = (data: string) =>
        client.send({
          type: "send",
          token: "token-of-the-test",
          channel: "chat",
          params: {},
          data,
        });
      if (name === "expiry") continue;
      await client.subscribe("token-of-the-test");
      if (name === "forward") send("fine");
      if (name === "failed-forward") send("fail");
      if (name === "open-forward") send("open");
      if (name === "hung-forward") send("hang");
      if (name.endsWith("ed-forward") || name === "hung-forward")
        assert.equal((await client.next()).type, "error");
      if (name === "bearer")
        assert.equal(
          (await request(port, "/message", "{}", { headers, secret: "wrong" })).status,
          401,
        );
      if (name === "closed") await (await TestClient.connect(port, headers)).close();
      if (name === "trap") await request(port, "/message", "trap!", { headers });
    }
    // Hibernates with its alarm set, and is woken by it: not by the test, which only counts. If
    // this machine is slow and the alarm finds it awake, another alarm will do.
    for (let alarms = 0; ; await rest(100)) {
      const come = await sidekick.test("alarms?hub=expiry");
      if ((await sidekick.constructed("expiry")) > 1) break;
      if (come > alarms)
        await request(
          port,
          "/connection",
          `{"token":"another-token-${come}","channel":"chat","params":{}}`,
          { headers: { Host: "expiry" } },
        );
      alarms = come;
    }
    // The object with a forward in flight must not hibernate: the answer would be lost. Nothing has
    // been sent to it, since that would wake it.
    assert.equal(await sidekick.constructed("open-forward"), 1);
    held[0]!.writeHead(400).end('{ "fault": "client", "message": "at last" }');
    assert.match(await clients.get("open-forward")!.nextText(), /at last/);
    assert.equal(await sidekick.constructed("open-forward"), 1);
    // By now the others have hibernated too, unless this machine is slow: then they get more time.
    for (let awake = names.filter((name) => name !== "open-forward"); ; await rest(REST_MS)) {
      for (const name of awake) assert.deepEqual(await settle(clients.get(name)!), []);
      const slept = await Promise.all(
        awake.map(async (name) => (await sidekick.constructed(name)) > 1),
      );
      awake = awake.filter((_, i) => !slept[i]);
      if (awake.length === 0) break;
    }
    for (const name of names) {
      const headers = { Host: name };
      const client = clients.get(name)!;
      await request(port, "/resources", '{"resources":["todo/1"]}', { headers });
      await request(port, "/message", '{"channel":"chat","params":{},"data":1}', { headers });
      assert.equal((await settle(client)).length, name === "expiry" ? 1 : 2);
      if (name !== "expiry") assert.equal(await sidekick.rows("token", name), 1);
    }
    assert.equal(await sidekick.rows("token", "expiry"), 0);
  } finally {
    await Promise.all([sidekick.stop(), app.close()]);
  }
});

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
