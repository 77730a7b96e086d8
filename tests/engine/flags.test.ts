// The flags and variables of the engine, of the command sidekick-serve or of SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning, run } from "../hosts/shared/support/run.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

const ANY_PORT = ["--port", "0", "--host", "127.0.0.1", "--secret", "s"];
const NO_URL =
  /expected a URL such as redis:\/\/localhost:6379\/0 or rediss:\/\/redis\.example\.com /;

test("connects to the engine, and shows where it is without user and password", async () => {
  const redis = await startRedis("--requirepass", "pa55");
  const place = `127.0.0.1:${redis.port}/2`;
  const sidekick = run([...ANY_PORT, "--engine-prefix", "app"], {
    SIDEKICK_ENGINE: `redis://:pa55@${place}`,
    SIDEKICK_ENGINE_PREFIX: "not-this-one",
  });
  await sidekick.port();
  await sidekick.says(new RegExp(`^Sharing topics and tokens through redis://${place}$`, "m"));
  await sidekick.says(new RegExp(`the engine is up engine="redis://${place}" keys="app:1:2:"`));
  assert.doesNotMatch(sidekick.output(), /pa55/);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("a flag takes precedence over its variable", async () => {
  const redis = await startRedis();
  const sidekick = run([...ANY_PORT, "--engine", `redis://127.0.0.1:${redis.port}`], {
    SIDEKICK_ENGINE: "redis://:pa55@127.0.0.1:1",
    SIDEKICK_ENGINE_PREFIX: "app",
  });
  await sidekick.port();
  await sidekick.says(/the engine is up .* keys="app:1:0:"/);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("starts without its engine, keeps trying, and stops at once", async () => {
  const sidekick = run([...ANY_PORT, "--engine", "redis://127.0.0.1:1"]);
  await sidekick.port();
  await sidekick.says(/the engine is unavailable; retrying .*code="connection" reason=".*ECONNREF/);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("usage errors are clear, name no password and give exit status 2", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const url = "redis://127.0.0.1:1";
  const cases: [string[], RegExp, Record<string, string>?][] = [
    [
      ["--engine", "redis://:pa55@a"],
      /: --engine: a password here can be read .* SIDEKICK_ENGINE /,
    ],
    [["--engine", "http://:pa55@a"], new RegExp(`: --engine: ${NO_URL.source}`)],
    [
      [],
      new RegExp(`: SIDEKICK_ENGINE: ${NO_URL.source}`),
      { SIDEKICK_ENGINE: "redis://:pa5 5@a" },
    ],
    [
      [],
      /: SIDEKICK_ENGINE: the URL has a user but no password/,
      { SIDEKICK_ENGINE: "redis://u@a" },
    ],
    ...["wasmtime", "native"].flatMap((name): typeof cases => [
      [
        ["--engine", name],
        new RegExp(`--engine: .*, got "${name}"; use --runtime to choose the runtime\n`),
      ],
      [[], /SIDEKICK_ENGINE: .*; use SIDEKICK_RUNTIME to choose/, { SIDEKICK_ENGINE: name }],
    ]),
    [["--engine-prefix", "app"], /--engine-prefix requires --engine\n/],
    [["--engine-ca", "ca.pem"], /--engine-ca requires --engine\n/],
    [["--engine", url, "--engine-ca", "ca.pem"], /--engine-ca requires an engine with rediss:/],
    [
      ["--engine", "rediss://a", "--engine-ca", join(folder, "none")],
      /--engine-ca \S*none: expected PEM certificates: /,
    ],
    [
      ["--engine", "rediss://a", "--engine-ca", await file("ca.pem", "no PEM")],
      /--engine-ca \S*ca\.pem: expected PEM certificates: /,
    ],
    ...["", "a b", "ä", "*", "a".repeat(65)].map((prefix): [string[], RegExp] => [
      ["--engine", url, "--engine-prefix", prefix],
      /--engine-prefix \(SIDEKICK_ENGINE_PREFIX\): expected 1 to 64 letters, digits or any of \. _ : -, got "/,
    ]),
    [
      ["--engine", url, "--config", await file("node.json", '{"node":"0123456789abcdef"}')],
      /--config \S*: "node" is random at each start and cannot be set; remove it\n/,
    ],
    [
      ["--config", await file("shards.json", '{"engine_shards":1}')],
      /--config \S*: "engine_shards" is set by --engine; remove it\n/,
    ],
    [
      ["--engine", url, "--config", await file("epoch.json", '{"engine_epoch":"e"}')],
      /--config \S*: "engine_epoch" is for Cloudflare only; remove it\n/,
    ],
  ];
  await Promise.all(
    cases.map(async ([args, expected, env]) => {
      const child = run([...ANY_PORT, ...args], env);
      assert.equal(await child.exit, 2, `${args.join(" ")}: ${child.output()}`);
      assert.match(child.output(), expected);
      assert.doesNotMatch(child.output(), /pa5|\n {4}at /);
    }),
  );
  await rm(folder, { recursive: true });
});
