// GET /metrics: who may ask, what a parser of Prometheus' format reads, and that the values follow
// from what happened.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { Replayer } from "../../../worker/src/module/replay.ts";
import { command, hostName } from "./support/command.ts";
import { test } from "./support/exceptions.ts";
import { closeEverything } from "./support/left-open.ts";
import { documented, familiesOf, histogramOf, ofHub, seriesOf } from "./support/prometheus.ts";
import {
  eventually,
  module,
  RawConnection,
  registerToken,
  request,
  startTestSidekick,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);

const get = (port: number, secret?: string | null) =>
  request(port, "/metrics", undefined, {
    method: "GET",
    ...(secret !== undefined && { secret }),
  });

test("the secret opens the metrics, the secret for the metrics opens nothing else, and no other one does", async () => {
  const { port } = await startTestSidekick({ config: { metrics_secret: "for-metrics" } });
  for (const secret of [undefined, "for-metrics"]) {
    const answer = await get(port, secret);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert.match(answer.body, /^# HELP sidekick_build_info .*\n# TYPE sidekick_build_info gauge\n/);
  }
  for (const secret of [null, "", "wrong", "for-metric", "for-metricss"]) {
    const answer = await get(port, secret);
    assert.equal(answer.status, 401, String(secret));
    assert.equal(answer.headers["www-authenticate"], "Bearer");
  }
  for (const path of ["/connection", "/resources", "/message"])
    assert.equal((await request(port, path, "{}", { secret: "for-metrics" })).status, 401, path);
  for (const path of ["/health", "/ready"])
    assert.equal(
      (await request(port, path, undefined, { method: "GET", secret: "for-metrics" })).status,
      401,
      path,
    );
});

test("the metrics take GET and HEAD only, and ignore a body and an upgrade", async () => {
  const { port } = await startTestSidekick();
  const posted = await request(port, "/metrics", "x");
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.allow, "GET, HEAD");
  const head = await request(port, "/metrics", undefined, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.body, "");
  const raw = await RawConnection.connect(port);
  raw.write(
    "GET /metrics?x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test-secret\r\n" +
      "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  assert.match(await raw.until("sidekick_host_traps_total 0"), /^HTTP\/1.1 200 OK\r\n/);
});

test("a parser of Prometheus' format reads exactly the families that the docs list", async () => {
  const { port } = await startTestSidekick();
  const { body } = await get(port);
  const isNative = hostName === "native";
  const hasModule = !(isNative && command?.includes("native"));
  const expected = documented().filter(
    ({ hosts }) =>
      hosts === undefined ||
      hosts === "all" ||
      (hosts === "all with the module" && hasModule) ||
      (hosts === "Node, native" && hostName !== "worker"),
  );
  const families = familiesOf(body);
  assert.deepEqual(
    [...families.keys()],
    expected.map(({ name }) => name),
  );
  for (const { name, type, help, metrics } of families.values()) {
    assert.ok(help.length > 0, name);
    assert.ok(metrics.length > 0, name);
    // The rules of OpenMetrics for names.
    assert.equal(name.endsWith("_total"), type === "COUNTER", name);
  }
  for (const line of body.trimEnd().split("\n")) {
    assert.match(
      line,
      /^# (HELP|TYPE) \w+ .+$|^\w+(\{\w+="[^"\\]*"\})? (\d+(\.\d+)?|\d(\.\d+)?e[+-]\d+)$/,
    );
  }
});

test("the values count what happened", async () => {
  const { port } = await startTestSidekick();
  await registerToken(port, "t");
  const [one, two] = [await TestClient.connect(port), await TestClient.connect(port)];
  await one.subscribe("t");
  for (const client of [one, two]) {
    client.send({ type: "listen", resources: ["r"] });
    await client.next();
  }
  await request(port, "/resources", '{"resources":["r"]}');
  await Promise.all([one.next(), two.next()]);
  two.send("nonsense");
  await two.next();
  await two.close();
  assert.equal((await get(port, "wrong")).status, 401);
  const text = async () => (await get(port)).body;
  await eventually(
    async () => seriesOf(await text(), 'sidekick_clients_closed_total{by="peer"}') === 1,
  );
  const body = await text();
  for (const [series, value] of [
    ["sidekick_ready", 1],
    ['sidekick_clients{hello="no"}', 1],
    ["sidekick_clients_opened_total", 2],
    ['sidekick_frames_received_total{type="subscribe"}', 1],
    ['sidekick_frames_received_total{type="listen"}', 2],
    ['sidekick_frames_received_total{type="invalid"}', 1],
    ['sidekick_frames_sent_total{kind="published"}', 2],
    ['sidekick_frames_sent_total{kind="reply"}', 4],
    ['sidekick_errors_total{code="syntax"}', 1],
    ['sidekick_tokens{state="subscribed"}', 1],
    ['sidekick_topics{kind="channel"}', 1],
    ['sidekick_subscriptions{kind="resource"}', 1],
    ["sidekick_host_traps_total", 0],
  ] as const)
    assert.equal(seriesOf(body, series), value, series);
  if (hostName === "worker") return; // its Worker rejects wrong secrets without asking the object
  assert.equal(seriesOf(body, 'sidekick_errors_total{code="unauthorized"}'), 1);
  assert.equal(seriesOf(body, 'sidekick_requests_total{path="/metrics"}'), 1);
  assert.ok(seriesOf(body, "process_resident_memory_bytes") > 1e6, body);
  assert.ok(seriesOf(body, "process_cpu_seconds_total") > 0, body);
  const age = Date.now() / 1000 - seriesOf(body, "process_start_time_seconds");
  assert.ok(age > -5 && age < 3600, `started ${age} s ago`);
});

test("a blocked event loop shows in a bucket of its lag", async () => {
  const sidekick = await startTestSidekick();
  const lag = async () =>
    histogramOf((await get(sidekick.port)).body, "sidekick_host_loop_lag_seconds");
  let now = await lag();
  const until = (condition: () => boolean, what: string) =>
    eventually(
      async () => {
        now = await lag();
        return condition();
      },
      () => `${what}: ${JSON.stringify(now)}`,
    );
  await until(() => now.count >= 2, "two seconds are counted");
  const longerThanHalf = () => now.count - Number(now.buckets["0.5"]);
  const before = { sum: now.sum, longer: longerThanHalf() };
  // The timer is due within a second, so it fires at least a second late.
  sidekick.atOnce(() => pause(2000));
  await until(() => longerThanHalf() > before.longer, "a lag of over half a second is counted");
  assert.ok(now.sum > before.sum + 0.5, JSON.stringify({ before, now }));
});

/** Nothing else runs in this process meanwhile. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test("after a trap the metrics count it, and the counters of its hub begin again", async () => {
  const { port } = await startTestSidekick({ traps: { restore: false } });
  const client = await TestClient.connect(port);
  client.send("trap!");
  assert.equal((await client.closed).code, 1011);
  const { body } = await get(port);
  assert.equal(seriesOf(body, "sidekick_host_traps_total"), 1);
  assert.equal(seriesOf(body, "sidekick_clients_opened_total"), 0);
});

test("a request for the metrics is not recorded, and a replay gives the same text", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-metrics-"));
  const recordFile = join(folder, "trace.jsonl");
  const sidekick = await startTestSidekick({ recordFile, config: { metrics_secret: "m" } });
  const { port } = sidekick;
  await registerToken(port, "t");
  const client = await TestClient.connect(port);
  await client.subscribe("t");
  await get(port, "m");
  client.send({ type: "listen", resources: ["r"] });
  await client.next();
  await request(port, "/resources", '{"resources":["r", "s"]}');
  await client.next();
  await get(port, "wrong");
  const { body } = await get(port);
  await sidekick.close();
  const lines = (await readFile(recordFile, "utf8")).split("\n");
  const asked = lines.filter((line) => line.includes('"path":"/metrics"'));
  assert.equal(asked.length, 1, "only the rejected one");
  // Up to the end of the answer before the last question.
  const end = lines.findIndex((line) => line.includes('"status":401')) + 1;
  const replayer = new Replayer(module);
  for (const line of lines.slice(0, end))
    assert.equal(replayer.line(Buffer.from(line)), undefined, line);
  assert.equal(replayer.metrics(), ofHub(body));
  assert.equal(
    seriesOf(body, "sidekick_host_recorded_bytes_total"),
    Buffer.byteLength(lines.slice(0, end).join("\n")) + 1,
  );
  await rm(folder, { recursive: true });
});
