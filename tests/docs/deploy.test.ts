// The deployment files, as far as they can be checked without running them: they parse, what they
// name exists, and their times and probes fit together.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const hosts = ["worker/src/node/cli.ts", "worker/native/cli.cpp"].map((path) => ({
  path,
  text: read(path),
}));
/** The time that the host takes for what is under way after the last socket is closed, and more. */
const LAST_SECONDS = 15;

/** The time to stop is enough for the drain and the rest. */
function assertCovers(stop: number, drain: string): void {
  assert.ok(stop >= Number(drain) + LAST_SECONDS, `${stop} s do not cover a drain of ${drain} s`);
}

/** Whether the host's help names it, or another text of the host. */
const knows = ({ text }: { text: string }, name: string) =>
  new RegExp(`${name}(?![\\w-])`).test(text);

test("every flag and variable of a Sidekick exists, on the host that gets it", () => {
  const found = new Set<string>();
  for (const file of readdirSync(join(root, "deploy"))) {
    const text = read(`deploy/${file}`).replaceAll("\\\n", " ");
    for (const [name] of text.matchAll(/\bSIDEKICK_\w+/g)) {
      if (name === "SIDEKICK_DOMAIN") continue; // for the proxy
      found.add(name);
      for (const host of hosts) assert.ok(knows(host, name), `${host.path}: ${name} (${file})`);
    }
    for (const [line, program] of text.matchAll(/sidekick-(serve\.js|server)\b.*/g))
      for (const [flag] of line.matchAll(/--[a-z-]+/g)) {
        found.add(flag);
        const host = hosts[program === "server" ? 1 : 0]!;
        assert.ok(knows(host, flag), `${host.path}: ${flag} (${file})`);
      }
  }
  for (const name of ["SIDEKICK_ENGINE", "SIDEKICK_IDLE_TIMEOUT", "--port", "--drain-seconds"])
    assert.ok(found.has(name), name);
});

const documents = parseAllDocuments(read("deploy/kubernetes.yaml")).map((document) => {
  assert.deepEqual(document.errors, []);
  return document.toJS();
});
const [deployment, service, budget] = documents;
const pod = deployment.spec.template.spec;
const [container] = pod.containers;

test("Kubernetes: liveness asks /health, readiness /ready, on the port of the container", () => {
  assert.equal(container.livenessProbe.httpGet.path, "/health");
  assert.equal(container.readinessProbe.httpGet.path, "/ready");
  const [{ containerPort }] = container.ports;
  for (const probe of [container.livenessProbe, container.readinessProbe])
    assert.equal(probe.httpGet.port, containerPort);
  assert.equal(service.spec.ports[0].targetPort, containerPort);
  assert.match(read("deploy/native.Dockerfile"), new RegExp(`EXPOSE ${containerPort}\n`));
});

test("Kubernetes: no variables of Services, the same labels everywhere, time to drain", () => {
  assert.equal(pod.enableServiceLinks, false);
  const { labels } = deployment.spec.template.metadata;
  for (const selector of [
    deployment.spec.selector.matchLabels,
    service.spec.selector,
    budget.spec.selector.matchLabels,
  ])
    assert.deepEqual(selector, labels);
  const drain = container.env.find(({ name }: { name: string }) => /DRAIN/.test(name));
  assertCovers(pod.terminationGracePeriodSeconds, drain.value);
});

test("compose: builds from files that exist, every Sidekick has time to drain", () => {
  const { services } = parse(read("deploy/compose.yaml"), { merge: true });
  for (const name of ["node", "native"]) {
    const { build, environment, stop_grace_period: grace } = services[name];
    assert.ok(existsSync(join(root, "deploy", build.context, build.dockerfile)), build.dockerfile);
    assertCovers(Number.parseInt(grace, 10), environment.SIDEKICK_DRAIN_SECONDS);
    assert.match(read("deploy/Caddyfile"), new RegExp(`\\b${name}:3001\\b`));
  }
  for (const volume of services.proxy.volumes) {
    const [file] = volume.split(":");
    if (file.startsWith(".")) assert.ok(existsSync(join(root, "deploy", file)), file);
  }
  assert.match(services.redis.command.at(-1), /--maxmemory-policy noeviction/);
});

test("systemd: the time to stop covers the drain", () => {
  const unit = read("deploy/sidekick.service");
  const [, drain] = /--drain-seconds (\d+)/.exec(unit)!;
  const [, stop] = /TimeoutStopSec=(\d+)/.exec(unit)!;
  assertCovers(Number(stop), drain!);
});

for (const name of ["node", "native"]) {
  test(`${name}.Dockerfile: its scripts, folders and files exist, it runs as a user`, () => {
    const text = read(`deploy/${name}.Dockerfile`);
    const scope = /scripts\/build (\w+)/.exec(text)![1]!;
    assert.match(read("scripts/build"), new RegExp(`build_${scope}\\(\\)`));
    const last = text.slice(text.lastIndexOf("\nFROM "));
    assert.match(last, /\nUSER (node|nobody)\n/);
    assert.match(last, /\nENTRYPOINT \["/, "the form without a shell, which passes no signals on");
    if (name === "node") {
      const [, peer] = /(@redis\/client)@/.exec(text)!;
      const { devDependencies } = JSON.parse(read("package.json"));
      assert.ok(text.includes(`${peer}@${devDependencies[peer!]}`), "the version of our tests");
      assert.equal(existsSync(join(root, "worker/bin/sidekick-serve.js")), true);
    }
  });
}
