// The command sidekick-serve as a child process, from worker/dist or as SIDEKICK_COMMAND says:
// flags, environment, signals.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Run } from "./support/run.ts";
import { isUnderBunOrDeno, killLeftRunning, run } from "./support/run.ts";
import { RawConnection, request, TestClient } from "./support/sidekick.ts";

const moduleFile = fileURLToPath(new URL("../../../worker/module/sidekick.wasm", import.meta.url));

after(killLeftRunning);

function pipe(folder: string): string {
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  return path;
}

/** A path at which a socket listens. */
async function unixSocket(folder: string): Promise<string> {
  const path = join(folder, "socket");
  const server = net.createServer().unref();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

test("a secret may begin with a dash after an equals sign", async () => {
  const sidekick = run(["--port", "0", "--host", "127.0.0.1", "--secret=-Xk3"]);
  const port = await sidekick.port();
  const answer = await request(port, "/resources", '{"resources":[]}', { secret: "-Xk3" });
  assert.equal(answer.status, 200);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
});

test("starts on a free port, prints it, and exits with 0 on SIGTERM and on SIGINT", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const sidekick = run([
      "--port",
      "0",
      "--host",
      "127.0.0.1",
      "--secret",
      "one",
      "--secret",
      "two",
    ]);
    const port = await sidekick.port();
    assert.equal(
      (await request(port, "/resources", '{"resources":[]}', { secret: "two" })).status,
      200,
    );
    const client = await TestClient.connect(port);
    sidekick.kill(signal);
    assert.equal((await client.closed).code, 1001);
    assert.equal(await sidekick.exit, 0);
  }
});

test("reads the environment; flags override it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const config = join(folder, "limits.json");
  await writeFile(config, '{"http_body_bytes_max": 64, "auth_failure_delay_ms": 60000}');
  const sidekick = run(["--port", "0", "--config", config], {
    SIDEKICK_PORT: "1",
    SIDEKICK_SECRET: "from-env",
    SIDEKICK_AUTH_DELAY: "0",
    SIDEKICK_SERVER_URL: "http://localhost:1/api",
    SIDEKICK_HOST: "127.0.0.1",
  });
  const port = await sidekick.port();
  assert.match(sidekick.output(), /--server-url without --server-secret/);
  assert.equal((await request(port, "/resources", "{}", { secret: "wrong" })).status, 401);
  assert.equal(
    (await request(port, "/resources", " ".repeat(65), { secret: "from-env" })).status,
    413,
  );
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
  await rm(folder, { recursive: true });
});

test("secrets may be in the file, which may start with a byte order mark", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const config = join(folder, "config.json");
  await writeFile(config, '\ufeff{"secrets": ["from-file"]}');
  const sidekick = run(["--port", "0", "--host", "127.0.0.1", "--config", config]);
  assert.equal(
    (
      await request(await sidekick.port(), "/resources", '{"resources":[]}', {
        secret: "from-file",
      })
    ).status,
    200,
  );
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
  await rm(folder, { recursive: true });
});

test("takes allowed origins from flags, variable or file, and rejects wrong ones", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const config = join(folder, "config.json");
  await writeFile(config, '{"allowed_origins": ["https://file.example.com"]}');
  const start = ["--port", "0", "--host", "127.0.0.1", "--secret", "s", "--config", config];
  const flag = (origin: string) => ["--allowed-origin", origin];
  for (const [args, list, allowed] of [
    [[], "", "https://file.example.com"],
    [[], " https://one.example.com, tauri://localhost ", "tauri://localhost"],
    [
      [...flag("https://flag.example.com"), ...flag("https://*.example.org")],
      "https://one.example.com",
      "https://a.example.org",
    ],
  ] as const) {
    const sidekick = run([...start, ...args], { SIDEKICK_ALLOWED_ORIGINS: list });
    const port = await sidekick.port();
    await (await TestClient.connect(port, { Origin: allowed })).close();
    await assert.rejects(TestClient.connect(port, { Origin: "https://other.example.com" }), /403/);
    sidekick.kill("SIGTERM");
    assert.equal(await sidekick.exit, 0);
  }
  for (const list of [",", "*", "https://app.example.com/", "https://bücher.example"]) {
    const sidekick = run(start, { SIDEKICK_ALLOWED_ORIGINS: list });
    assert.equal(await sidekick.exit, 2, sidekick.output());
    assert.match(sidekick.output(), /allowed_origins/);
  }
  await rm(folder, { recursive: true });
});

test("reports a low open file limit at start", { skip: process.platform !== "linux" }, async () => {
  const sidekick = run(
    ["--port", "0", "--host", "127.0.0.1", "--secret", "s"],
    {},
    "cli",
    "ulimit -n 1000; ",
  );
  await sidekick.port();
  assert.match(sidekick.output(), /ulimit -n 32832.* open_files=1000 clients_max=32768\n/);
  sidekick.kill("SIGTERM");
  await sidekick.exit;
});

test("a port in use gives a clear error and exit status 1", async () => {
  const first = run(["--port", "0", "--host", "127.0.0.1", "--secret", "s"]);
  const port = await first.port();
  const second = run(["--port", String(port), "--host", "127.0.0.1", "--secret", "s"]);
  assert.equal(await second.exit, 1);
  assert.match(second.output(), new RegExp(`port ${port} is in use`));
  assert.ok(!second.output().includes("    at "), "no stack trace");
  first.kill("SIGTERM");
  await first.exit;
});

/** Its exit status, or that it has started: a test that expects an error must not wait for it. */
function ending(sidekick: Run): Promise<number | string | null> {
  const started = sidekick.port().then(
    () => "it has started",
    () => sidekick.exit,
  );
  return Promise.race([sidekick.exit, started]);
}

test("usage errors are clear and give exit status 2", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const cases: [string[], RegExp][] = [
    [[], /a secret is required/],
    [["--secret", ""], /a secret is required/],
    [["--secret", "s", "--port", "70000"], /--port .*from 0 to 65535, got "70000"/],
    [["--secret", "s", "--port", "abc"], /got "abc"/],
    [["--secret", "s", "--auth-delay", "-1"], /auth-delay/],
    [["--secret", "s", "--host", ""], /--host \(SIDEKICK_HOST\): expected an address, got ""\n/],
    ...["nosuch.invalid", "192.0.2.1"].map((host): [string[], RegExp] => [
      ["--secret", "s", "--port", "0", "--host", host],
      new RegExp(`--host: this machine has no address "${host}"\n`),
    ]),
    [["--secret", "s", "--nonsense"], /--nonsense/],
    [["--secret", "s", "extra"], /extra/],
    [["--secret", "s", "--log-level", "loud"], /silent, error, warn, info, debug, got "loud"/],
    [["--secret", "s", "--log-format", "xml"], /expected text or json, got "xml"/],
    [["--secret", "s", "--metrics-secret", "a b"], /printable ASCII without spaces/],
    [
      ["--secret", "s", "--port", "0", "--server-url", "localhost:3000"],
      /server URL: expected a URL like/,
    ],
    [["--secret", "s", "--port", "0", "--config", await file("a", "{")], /--config .*JSON/],
    [
      ["--secret", "s", "--port", "0", "--config", await file("b", '{"frame_bytes_maxx":1}')],
      /frame_bytes_maxx/,
    ],
    [
      ["--secret", "s", "--port", "0", "--config", await file("c", '{"frame_bytes_max":1}')],
      /frame_bytes_max/,
    ],
    [["--secret", "s", "--port", "0", "--config", join(folder, "none")], /--config .*ENOENT/],
    [
      ["--secret", "s", "--port", "0", "--config", await file("d", '{"frame_bytes_max":1}')],
      /--config \S*\/d: .*frame_bytes_max/,
    ],
    [
      ["--secret", "s", "--port", "0", "--config", await file("e", '{"secrets":"s"}')],
      /--config \S*\/e: .*secrets/,
    ],
    [
      ["--secret", "s", "--port", "0", "--config", await file("f", '{"secrets":[]}')],
      /--config \S*\/f: .*secret/,
    ],
    [
      [
        "--secret",
        "s",
        "--port",
        "0",
        "--config",
        await file("g", '{"hash_seed":"0123456789abcdef"}'),
      ],
      /--config \S*\/g: "hash_seed" .*remove it/,
    ],
    // The file may hold secrets: the error names the place of the mistake and repeats no text.
    [
      ["--port", "0", "--config", await file("no-quote", '{"secrets":["Xk3hunter]}')],
      /^(?![^]*Xk3)[^]*--config \S*\/no-quote: .*not valid JSON .* at byte 24\n/,
    ],
    [
      ["--port", "0", "--config", await file("no-text", '{"secrets":[Xk3hunter]}')],
      /^(?![^]*Xk3)[^]*--config \S*\/no-text: .*not valid JSON .* at byte 12\n/,
    ],
    [["--secret", " s ", "--port", "0"], /secret/],
    [
      ["--secret", "s", "--port", "0", "--server-url", "http://user:pa55@localhost/"],
      /server URL: .*remove them/,
    ],
    [["--secret", "s", "--port", "0", "--record", folder], /--record .+: EISDIR/],
    [
      ["--secret", "s", "--port", "0", "--record", join(folder, "none", "trace")],
      /--record .+: ENOENT/,
    ],
    [
      ["--secret", "s", "--port", "0", "--record", pipe(folder)],
      isUnderBunOrDeno
        ? /--record .+: recording into a pipe needs Node/
        : /--record .+: ENXIO: nothing reads this pipe/,
    ],
    [
      ["--secret", "s", "--port", "0", "--record", await unixSocket(folder)],
      /--record .+: ENXIO: this is a socket/,
    ],
    ...["--secret", "-s"].map((flag): [string[], RegExp] => [
      [flag, "-Xk3"],
      /: --secret: expected a value; .* is written --secret=VALUE\nTry/,
    ]),
    [["--secret", "--server-url", "http://127.0.0.1/"], /: --secret: expected a value;/],
    [["--secret"], /: --secret: expected a value;/],
    ...["schl\u00fcssel", "a b", "a\n"].map((secret): [string[], RegExp] => [
      ["--secret", secret],
      /: invalid configuration: a secret must be printable ASCII without spaces/,
    ]),
    ...["schl\u00fcssel", "\u20ac", "a b"].map((secret): [string[], RegExp] => [
      ["--secret", "s", "--server-url", "http://127.0.0.1/", "--server-secret", secret],
      /: server secret: expected printable ASCII without spaces/,
    ]),
    ...["0", "3601"].map((seconds): [string[], RegExp] => [
      ["--secret", "s", "--idle-timeout", seconds],
      /--idle-timeout \(SIDEKICK_IDLE_TIMEOUT\): expected a whole number from 1 to 3600/,
    ]),
    [
      ["--secret", "s", "--server-idle-timeout", "3601"],
      /--server-idle-timeout \(SIDEKICK_SERVER_IDLE_TIMEOUT\): expected a whole number from 0 to 3600/,
    ],
    ...["-1", "3601", "1.5"].map((seconds): [string[], RegExp] => [
      ["--secret", "s", `--drain-seconds=${seconds}`],
      /--drain-seconds \(SIDEKICK_DRAIN_SECONDS\): expected a whole number from 0 to 3600/,
    ]),
  ];
  await Promise.all(
    cases.map(async ([args, expected]) => {
      const child = run(args);
      assert.equal(await ending(child), 2, `${args.join(" ")}: ${child.output()}`);
      assert.match(child.output(), expected);
      assert.ok(!child.output().includes("pa55"), child.output());
      assert.ok(!child.output().includes("    at "), child.output());
    }),
  );
  await rm(folder, { recursive: true });
});

test("an empty SIDEKICK_HOST does not mean all addresses", async () => {
  const sidekick = run(["--secret", "s", "--port", "0"], { SIDEKICK_HOST: "" });
  assert.equal(await ending(sidekick), 2, sidekick.output());
  assert.match(sidekick.output(), /--host \(SIDEKICK_HOST\): expected an address, got ""\n/);
});

/** Returns the log of the start of a Sidekick with these flags. */
async function logOf(flags: string[]): Promise<string> {
  const sidekick = run(["--port", "0", "--host", "127.0.0.1", ...flags]);
  await sidekick.port();
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0, sidekick.output());
  return sidekick.output();
}

test("revokes other users' access to an existing recording", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const trace = join(folder, "trace");
  const record = () => logOf(["--secret", "s", "--record", trace]);
  const modeOf = async () => ((await stat(trace)).mode & 0o777).toString(8);
  assert.doesNotMatch(await record(), /other users/);
  assert.equal(await modeOf(), "600");
  for (const mode of [0o644, 0o620]) {
    await chmod(trace, mode);
    assert.match(
      await record(),
      /info {2}other users had access to the recording; its mode is now 0600 file=".+trace"\n/,
    );
    assert.equal(await modeOf(), "600");
  }
  assert.doesNotMatch(await record(), /other users/);
  await rm(folder, { recursive: true });
});

const isRoot = process.geteuid?.() === 0;

test("warns of a recording that belongs to another user", {
  skip: isRoot ? false : "only root can give a file away",
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const trace = join(folder, "trace");
  await writeFile(trace, "", { mode: 0o600 });
  await chown(trace, 12345, 12345);
  assert.match(
    await logOf(["--secret", "s", "--record", trace]),
    /warn {2}other users have access to the recording: give the file to .+ file=".+trace"\n/,
  );
  await rm(folder, { recursive: true });
});

test("warns if every user can read the secrets in the configuration", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const config = join(folder, "config.json");
  await writeFile(config, '{"secrets": ["s"]}');
  await chmod(config, 0o644);
  assert.match(
    await logOf(["--config", config]),
    /warn {2}every user of this machine can read the secrets in the configuration: run chmod o= on it file=".+config.json"\n/,
  );
  assert.equal((await stat(config)).mode & 0o777, 0o644, "it is only read");
  await chmod(config, 0o640);
  assert.doesNotMatch(await logOf(["--config", config]), /every user/);
  await writeFile(config, '{"frame_bytes_max": 65536}');
  await chmod(config, 0o644);
  assert.doesNotMatch(await logOf(["--secret", "s", "--config", config]), /every user/);
  await rm(folder, { recursive: true });
});

test("--help names every flag and variable; --version is the package's version", async () => {
  const help = run(["--help"]);
  assert.equal(await help.exit, 0);
  for (const name of [
    "port",
    "host",
    "secret",
    "metrics-secret",
    "auth-delay",
    "idle-timeout",
    "server-url",
    "server-secret",
    "allowed-origin",
    "server-idle-timeout",
    "drain-seconds",
    "config",
    "record",
    "log-level",
    "log-format",
  ]) {
    assert.match(help.output(), new RegExp(`--${name}\\b`));
  }
  for (const name of [
    "PORT",
    "SECRET",
    "METRICS_SECRET",
    "LOG_FORMAT",
    "AUTH_DELAY",
    "SERVER_URL",
    "SERVER_SECRET",
    "DRAIN_SECONDS",
    "ALLOWED_ORIGINS",
  ])
    assert.match(help.output(), new RegExp(`SIDEKICK_${name}`));
  assert.match(help.output(), /contains messages, contexts and tokens/);
  const version = run(["--version"]);
  assert.equal(await version.exit, 0);
  assert.match(version.output(), /^\d+\.\d+\.\d+\n$/);
});

test("--log-format json: each line of the log is one object, whatever a peer sends", async () => {
  const flags = ["--port", "0", "--host", "127.0.0.1", "--secret", "s", "--log-level", "debug"];
  const sidekick = run([...flags, "--auth-delay", "0"], { SIDEKICK_LOG_FORMAT: "json" });
  const port = await sidekick.port();
  const names = [
    '/"}{"level":"error"',
    "/\\\\",
    "/\x9b2J",
    "/\xe2\x80\xae\xe2\x80\xa8",
    "/\x7f\xff",
  ];
  for (const name of names) {
    const raw = await RawConnection.connect(port);
    raw.write(Buffer.from(`GET ${name} HTTP/1.0\r\nOrigin: ${name}\r\n\r\n`, "latin1"));
    await raw.ended;
  }
  for (const bytes of ['PROXY TCP4 "\n\x1b[2J\r\n\r\n', "\x16\x03\x01\x00\n\n"]) {
    const raw = await RawConnection.connect(port);
    raw.write(Buffer.from(bytes, "latin1"));
    await raw.ended;
  }
  const wrong = await request(port, "/message", "{}", { secret: "wrong" });
  assert.equal(wrong.status, 401);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0);
  const { log } = sidekick;
  assert.match(log(), /^[\x20-\x7e\n\ufffd]+$/); // native: for a byte that is not UTF-8
  const lines = log()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const { time, level, message } of lines) {
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(String(level), /^(error|warn|info|debug)$/);
    assert.equal(typeof message, "string");
  }
  const said = (message: string) => lines.filter((line) => line["message"] === message);
  assert.ok(
    said("rejected a request").some((line) => line["code"] === "unauthorized"),
    log(),
  );
  assert.ok(
    said("rejected a request").some((line) => line["path"] === names[0]),
    log(),
  );
  assert.equal(said("shutting down")[0]?.["signal"], "SIGTERM");
});

test("a stalled pipe reader does not block shutdown", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const path = pipe(folder);
  const reader = openSync(path, constants.O_RDWR); // never read from
  const sidekick = run(["--port", "0", "--host", "127.0.0.1", "--secret", "s", "--record", path]);
  if (isUnderBunOrDeno) {
    assert.equal(await sidekick.exit, 2);
    assert.match(sidekick.output(), /pipe: recording into a pipe needs Node: record into a file\n/);
    return;
  }
  const port = await sidekick.port();
  const body = JSON.stringify({ resources: ["x".repeat(500)] });
  for (let i = 0; i < 400; i++)
    assert.equal((await request(port, "/resources", body, { secret: "s" })).status, 200);
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0, sidekick.output());
  assert.match(sidekick.output(), /the recording has stopped; its end is missing/);
  closeSync(reader);
  await rm(folder, { recursive: true });
});

test("covenant-sidekick-replay replays what --record wrote, shows the first difference, and rejects other files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const trace = join(folder, "trace");
  for (const resource of ["one", "two"]) {
    const sidekick = run([
      "--port",
      "0",
      "--host",
      "127.0.0.1",
      "--secret",
      "s",
      "--record",
      trace,
    ]);
    const client = await TestClient.connect(await sidekick.port());
    client.send({ type: "listen", resources: [resource] });
    await client.next();
    sidekick.kill("SIGTERM");
    assert.equal(await sidekick.exit, 0);
  }
  const good = run([trace], {}, "replay-cli");
  assert.equal(await good.exit, 0, good.output());
  assert.match(good.output(), /12 inputs replayed, all actions equal/);
  const text = await readFile(trace, "utf8");
  const lines = text.split("\n").length - 1;
  await writeFile(trace, `${text}{"gap":57}\n${text}`);
  const gap = run([trace], {}, "replay-cli");
  assert.equal(await gap.exit, 0, gap.output());
  assert.match(gap.output(), /24 inputs replayed, all actions equal/);
  assert.match(gap.output(), new RegExp(`:${lines}: a gap: 57 lines are missing after this one`));
  await writeFile(
    trace,
    text.replace(
      'listening\\", \\"resources\\": [\\"two',
      'listening\\", \\"resources\\": [\\"tow',
    ),
  );
  const changed = run([trace], {}, "replay-cli");
  assert.equal(await changed.exit, 1, changed.output());
  assert.match(
    changed.output(),
    /trace:\d+: the replay differs\n {2}trace: {2}.*tow.*\n {2}replay: .*two/,
  );
  await writeFile(trace, "nonsense\n");
  for (const bytes of [Buffer.from("nonsense"), (await readFile(moduleFile)).subarray(0, 5000)]) {
    const module = join(folder, "module.wasm");
    await writeFile(module, bytes);
    const unusable = run([trace, "--module", module], {}, "replay-cli");
    assert.equal(await unusable.exit, 2);
    assert.match(
      unusable.output(),
      /^covenant-sidekick-replay: \S+module\.wasm: expected the Sidekick module; build it .+\n$/,
    );
  }
  const wrong = run([trace], {}, "replay-cli");
  assert.equal(await wrong.exit, 2);
  assert.match(wrong.output(), /trace line 1: expected a JSON object, found nonsense/);
  await rm(folder, { recursive: true });
});
