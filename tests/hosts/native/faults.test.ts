// Faults around sidekick-server: each produces one clear line and an exit status, never a hang or a
// crash.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdir,
  readdir,
  readFile,
  stat,
  writeFile,
} from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { inspectorOf } from "../shared/support/command.ts";
import { registerToken, request, TestClient } from "../shared/support/sidekick.ts";
import { cleanUp, isWasmtime, moduleFile, newFolder, run, sql } from "./support/server.ts";

after(cleanUp);

/**
 * Expects that the server does not start, prints one line with the reason, and exits with this
 * status.
 */
async function refuses(flags: string[], status: number, expected: RegExp): Promise<void> {
  const server = run(flags);
  const started = server.port().then(
    () => "it has started",
    () => new Promise(() => {}),
  );
  assert.equal(
    await Promise.race([server.exit, started]),
    status,
    `${flags.join(" ")}: ${server.output()}`,
  );
  const lines = server
    .output()
    .split("\n")
    .filter((line) => line !== "" && !/^\d{4}-\d\d-\d\dT/.test(line)); // not of the log
  if (status === 2) assert.equal(lines.pop(), "Try sidekick-server --help");
  assert.equal(lines.length, 1, server.output());
  assert.match(lines[0]!, /^sidekick-server: /);
  assert.match(lines[0]!, expected);
}

/** Expects that the server serves. */
async function serves(flags: string[], check: (output: string) => void = () => {}): Promise<void> {
  const server = run(flags);
  const port = await server.port();
  const client = await TestClient.connect(port);
  client.send({ type: "listen", resources: ["r"] });
  await client.next();
  assert.equal((await request(port, "/resources", '{"resources":["r"]}')).status, 200);
  assert.deepEqual(await client.next(), { type: "updated", resource: "r" });
  assert.equal(await server.kill("SIGTERM"), 0);
  check(server.output());
}

test("rejects a server URL with an impossible port; scheme and host may have any case", async () => {
  for (const port of ["99999", "0"])
    await refuses(
      ["--server-url", `http://localhost:${port}/`],
      2,
      /server URL: expected a URL like/,
    );
  await serves(["--server-url", "HTTP://LOCALHOST:80"], (output) =>
    assert.match(output, /Forwarding messages to http:\/\/localhost:80\/\n/),
  );
});

test("rejects a secret that is not UTF-8", async () => {
  const server = run([], {
    before: 'SIDEKICK_SECRET=; set -- "$@" --secret "$(printf \'\\377\')"; ',
  });
  assert.equal(await server.exit, 2);
  assert.match(server.output(), /^sidekick-server: --secret \(SIDEKICK_SECRET\): expected UTF-8$/m);
});

describe("the data folder", () => {
  test("rejects an unusable folder", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "file"), "");
    await refuses(["--data", join(folder, "file", "below")], 1, /--data .+: ENOTDIR/);
    await refuses(["--data", join(folder, "file")], 1, /--data .+: .*(ENOTDIR|unable to open)/);
    await refuses(["--data", join(folder, "no", "such")], 1, /--data .+: ENOENT/);
    await refuses(["--data", "/proc"], 1, /--data \/proc: /);
  });

  test("rejects a folder that another process uses", async () => {
    const folder = await newFolder();
    const first = run(["--data", folder]);
    await first.port();
    await refuses(
      ["--data", folder],
      1,
      /another process uses it: stop that process, or choose another folder/,
    );
    await first.kill("SIGKILL");
    await serves(["--data", folder]);
  });

  test("rejects a damaged database or one of a later Sidekick, and leaves it unchanged", async () => {
    const folder = await newFolder();
    const file = join(folder, "tokens.sqlite");
    await writeFile(
      file,
      "this is no database, but it is long enough to be taken for one at first sight ".repeat(100),
    );
    await refuses(
      ["--data", folder],
      1,
      /tokens\.sqlite is damaged or not a database: move it away/,
    );
    assert.match(await readFile(file, "utf8"), /^this is no database/);

    const later = await newFolder();
    await serves(["--data", later]);
    const bytes = await readFile(join(later, "tokens.sqlite"));
    bytes.writeUInt32BE(99, 60); // user_version, at its offset in SQLite's file format, section 1.3
    await writeFile(join(later, "tokens.sqlite"), bytes);
    await refuses(
      ["--data", later],
      1,
      /written by a later Sidekick \(format 99, this one reads 1\)/,
    );
    bytes.writeInt32BE(-5, 60);
    await writeFile(join(later, "tokens.sqlite"), bytes);
    await refuses(
      ["--data", later],
      1,
      /--data .+: tokens\.sqlite was written by a later Sidekick \(format -5, this one reads 1\)/,
    );
  });

  test("rejects a table of another program, and a damaged page", async () => {
    const foreign = await newFolder();
    sql(foreign, "'create table tokens (id integer)'");
    await refuses(
      ["--data", foreign],
      1,
      /--data .+: tokens\.sqlite belongs to another program: move it away, or choose another folder \(.*no column named/,
    );

    const damaged = await newFolder();
    const server = run(["--data", damaged]);
    const port = await server.port();
    for (let i = 0; i < 30; i++)
      await registerToken(port, `token-${i}`, "chat", {}, "x".repeat(3000));
    await server.kill("SIGTERM");
    const bytes = await readFile(join(damaged, "tokens.sqlite"));
    await writeFile(
      join(damaged, "tokens.sqlite"),
      Buffer.concat([bytes.subarray(0, 8192), Buffer.alloc(bytes.byteLength - 8192, 0x5a)]),
    );
    await refuses(
      ["--data", damaged],
      1,
      /--data .+: tokens\.sqlite is damaged or not a database: move it away to start empty/,
    );
  });

  test("drops a damaged row and logs that", async () => {
    const folder = await newFolder();
    const first = run(["--data", folder]);
    for (const token of ["good", "bad"]) await registerToken(await first.port(), token);
    await first.kill("SIGTERM");
    sql(folder, "\"update tokens set record=x'00ff' where key=cast('bad' as blob)\"");
    const second = run(["--data", folder]);
    const client = await TestClient.connect(await second.port());
    await client.subscribe("good");
    assert.equal(await second.kill("SIGTERM"), 0);
    assert.match(
      second.output(),
      /warn {2}stored tokens were dropped: their records are damaged or exceed a limit tokens=1\n/,
    );
    const third = run(["--data", folder]);
    await third.port();
    assert.equal(await third.kill("SIGTERM"), 0);
    assert.doesNotMatch(third.output(), /dropped/);
  });
});

test("revokes other users' access to an existing database and its log", async () => {
  const folder = await newFolder();
  const first = run(["--data", folder]);
  await registerToken(await first.port(), "kept");
  await first.kill("SIGKILL"); // the log remains
  const files = ["tokens.sqlite", "tokens.sqlite-wal"].map((name) => join(folder, name));
  for (const file of files) await chmod(file, 0o644);
  const second = run(["--data", folder]);
  const client = await TestClient.connect(await second.port());
  await client.subscribe("kept");
  for (const file of files) assert.equal((await stat(file)).mode & 0o777, 0o600, file);
  await second.kill("SIGTERM");
  assert.match(
    second.output(),
    /info {2}other users had access to the stored tokens; its mode is now 0600 file=".+-wal"\n/,
  );
});

describe("the certificate", () => {
  test("rejects an invalid certificate, an invalid key and a key of another certificate; an encrypted key does not prompt", async () => {
    const folder = await newFolder();
    const openssl = (...args: string[]) =>
      execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    for (const name of ["a", "b"])
      openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.pem`,
      );
    openssl("ec", "-in", "a.key", "-aes256", "-passout", "pass:word", "-out", "locked.key");
    await writeFile(join(folder, "garbage"), "nonsense");
    const at = (name: string) => join(folder, name);
    await refuses(["--tls-cert", at("a.pem")], 2, /--tls-cert and --tls-key: expected both/);
    await refuses(
      ["--tls-cert", at("none"), "--tls-key", at("a.key")],
      2,
      /--tls-cert .+: .*ENOENT/,
    );
    await refuses(
      ["--tls-cert", at("garbage"), "--tls-key", at("a.key")],
      2,
      /--tls-cert .+: expected PEM certificates/,
    );
    await refuses(
      ["--tls-cert", at("a.pem"), "--tls-key", at("garbage")],
      2,
      /--tls-key .+: expected the certificate's private key/,
    );
    await refuses(
      ["--tls-cert", at("a.pem"), "--tls-key", at("b.key")],
      2,
      /--tls-key .+: .*mismatch/,
    );
    await refuses(
      ["--tls-cert", at("a.pem"), "--tls-key", at("locked.key")],
      2,
      /--tls-key .+: .*without a passphrase/,
    );
    await refuses(
      ["--tls-cert", at("a.pem"), "--tls-key", at("none")],
      2,
      /--tls-key .+: .*ENOENT/,
    );
  });
});

/**
 * A module that exports only memory, `_initialize` and a border version that takes this many
 * parameters.
 */
function moduleOfVersion(version: number, parameters = 0): Buffer {
  const text = (name: string) => [name.length, ...Buffer.from(name)];
  const section = (id: number, bytes: number[]) => [id, bytes.length, ...bytes];
  return Buffer.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [
      2,
      0x60,
      0,
      0,
      0x60,
      parameters,
      ...Array<number>(parameters).fill(0x7f),
      1,
      0x7f,
    ]), // types: () and (i32...) -> i32
    ...section(3, [2, 0, 1]),
    ...section(5, [1, 0, 1]),
    ...section(7, [
      3,
      ...text("memory"),
      2,
      0,
      ...text("_initialize"),
      0,
      0,
      ...text("sidekick_abi_version"),
      0,
      1,
    ]),
    ...section(10, [2, 2, 0, 0x0b, 4, 0, 0x41, version, 0x0b]),
  ]);
}

describe("the module", { skip: !isWasmtime }, () => {
  test("rejects a file that is not a module, not a Sidekick module, or of another version", async () => {
    const folder = await newFolder();
    const file = async (name: string, bytes: Buffer | string) => {
      await writeFile(join(folder, name), bytes);
      return join(folder, name);
    };
    await refuses(["--module", join(folder, "none.wasm")], 1, /--module .+: ENOENT/);
    await refuses(["--module", folder], 1, /--module .+: EISDIR/);
    await refuses(
      ["--module", await file("empty.wasm", "")],
      1,
      /--module .+: expected a WebAssembly module/,
    );
    const whole = await readFile(moduleFile);
    for (const bytes of [Buffer.from("nonsense"), whole.subarray(0, 5000), whole.subarray(0, -1)])
      await refuses(
        ["--module", await file("garbage.wasm", bytes)],
        1,
        /--module .+garbage\.wasm: expected a WebAssembly module; build it .+, or copy it again \(.+\)$/,
      );
    await refuses(
      ["--module", await file("other.wasm", Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))],
      1,
      /not a Sidekick module: it does not export memory/,
    );
    await refuses(
      ["--module", await file("later.wasm", moduleOfVersion(63))],
      1,
      /ABI version: expected 2, found 63/,
    );
    await refuses(
      ["--module", await file("types.wasm", moduleOfVersion(2, 30))],
      1,
      /not a Sidekick module: sidekick_abi_version has other parameters or results/,
    );
  });

  test("the compiled module is cached beside it; a damaged, stale or foreign cache entry is replaced", async () => {
    const folder = await newFolder();
    const [wasm, cache] = [join(folder, "m.wasm"), join(folder, "m.cwasm")];
    await copyFile(moduleFile, wasm);
    const quiet = (output: string) => assert.doesNotMatch(output, /module in the cache/);
    const says = (reason: string) => (output: string) =>
      assert.match(
        output,
        new RegExp(`the compiled module in the cache is unusable; compiling it again .*${reason}`),
      );
    await serves(["--module", wasm], quiet);
    const good = await readFile(cache);
    await serves(["--module", wasm], quiet);
    for (const [damage, reason] of [
      [good.subarray(0, 1000), "damaged"],
      [good.subarray(0, 20), "damaged"],
      [Buffer.from("nonsense"), "damaged, or another file"],
      [
        Buffer.concat([
          good.subarray(0, 5000),
          Buffer.from([good[5000]! ^ 1]),
          good.subarray(5001),
        ]),
        "damaged",
      ],
      [
        Buffer.concat([good.subarray(0, 48), Buffer.from([good[48]! ^ 1]), good.subarray(49)]),
        "belongs to another build of wasmtime",
      ],
    ] as const) {
      await writeFile(cache, damage);
      await serves(["--module", wasm], says(reason));
      assert.deepEqual(
        (await readFile(cache)).subarray(0, 80),
        good.subarray(0, 80),
        "it is complete again",
      );
    }
    // a custom section: the same module with other bytes
    await appendFile(wasm, Buffer.from([0, 2, 1, 0x78]));
    await serves(["--module", wasm], says("belongs to another module"));
    await serves(["--module", wasm], quiet);
    assert.deepEqual(
      (await readdir(folder)).sort(),
      ["m.cwasm", "m.wasm"],
      "no temporary files remain",
    );
  });

  const ignored = (reason: string) => (output: string) =>
    assert.match(
      output,
      new RegExp(
        "warn  the compiled module in the cache is ignored: let only root and the user of this " +
          `server write to it and to its folder file=".+\\.cwasm" reason="${reason}"\n`,
      ),
    );

  test("a compiled module that others can write to is not loaded, but replaced", async () => {
    const folder = await newFolder();
    const [wasm, cache] = [join(folder, "m.wasm"), join(folder, "m.cwasm")];
    await copyFile(moduleFile, wasm);
    await serves(["--module", wasm]);
    for (const mode of [0o664, 0o646]) {
      await chmod(cache, mode);
      await serves(["--module", wasm], ignored("other users can write to it"));
      assert.equal((await stat(cache)).mode & 0o777, 0o644);
    }
    await serves(["--module", wasm], (output) => assert.doesNotMatch(output, /in the cache/));
  });

  test("a compiled module of another user is not loaded, but replaced", {
    skip: process.geteuid!() === 0 ? false : "only root can give a file away",
  }, async () => {
    const folder = await newFolder();
    const [wasm, cache] = [join(folder, "m.wasm"), join(folder, "m.cwasm")];
    await copyFile(moduleFile, wasm);
    await serves(["--module", wasm]);
    await chown(cache, 12345, 0);
    await serves(["--module", wasm], ignored("it belongs to user 12345"));
    assert.equal((await stat(cache)).uid, 0);
    await serves(["--module", wasm], (output) => assert.doesNotMatch(output, /in the cache/));
  });

  test("a folder or a pipe in the cache's place does not matter", async () => {
    const folder = await newFolder();
    for (const name of ["a", "b"]) await copyFile(moduleFile, join(folder, `${name}.wasm`));
    await mkdir(join(folder, "a.cwasm"));
    await serves(["--module", join(folder, "a.wasm")], ignored("it is not a regular file"));
    execFileSync("mkfifo", [join(folder, "b.cwasm")]);
    await serves(["--module", join(folder, "b.wasm")], ignored("it is not a regular file"));
  });

  test("a module that is not Sidekick's replaces no file", async () => {
    const folder = await newFolder();
    const [wasm, other] = [join(folder, "m.wasm"), join(folder, "m.cwasm")];
    await writeFile(wasm, moduleOfVersion(63));
    await writeFile(other, "of another program");
    await refuses(["--module", wasm], 1, /ABI version: expected 2, found 63/);
    assert.equal(await readFile(other, "utf8"), "of another program");
  });

  test("a real trap in the sandbox closes its sender only", async () => {
    const server = run(["--log-level", "debug"], { env: { SIDEKICK_TEST_FAULTS: "trap real" } });
    const port = await server.port();
    const [culprit, other] = [await TestClient.connect(port), await TestClient.connect(port)];
    other.send({ type: "listen", resources: ["r"] });
    await other.next();
    culprit.send("trap!");
    assert.equal((await culprit.closed).code, 1011);
    assert.equal((await request(port, "/message", "trap!")).status, 500);
    await request(port, "/resources", '{"resources":["r"]}');
    assert.deepEqual(await other.next(), { type: "updated", resource: "r" });
    assert.equal(await server.kill("SIGTERM"), 0);
    assert.match(
      server.output(),
      /please report this input="client_frame" recording="none: .*" error=".*unreachable/,
    );
  });
});

test("a connection without memory is dropped, and the next ones are accepted", async () => {
  const server = run([], { env: { SIDEKICK_TEST_FAULTS: "accept" } }); // every second one
  const port = await server.port();
  const statuses: number[] = [];
  for (let i = 0; i < 6; i++) {
    const answer = request(port, "/resources", '{"resources":["r"]}', {
      headers: { Connection: "close" },
    });
    statuses.push(
      await answer.then(
        ({ status }) => status,
        () => 0,
      ),
    );
  }
  assert.deepEqual(statuses, [200, 0, 200, 0, 200, 0]);
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.match(server.output(), /error setting up a connection failed error="std::bad_alloc"/);
});

test("sends the whole page of the inspector through a slow network", async () => {
  const server = run(["--inspect", "0"], { env: { SIDEKICK_TEST_FAULTS: "slow-network" } });
  await server.port();
  const { hostname, host, port, pathname } = new URL(inspectorOf(server.output())!);
  const peer = connect(Number(port), hostname).pause();
  peer.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await setTimeout(4000); // longer than a refusal waits for its reader
  let text = "";
  for await (const chunk of peer.setEncoding("latin1") as AsyncIterable<string>) text += chunk;
  const [head = "", page = ""] = text.split("\r\n\r\n");
  assert.equal(page.length, Number(/Content-Length: (\d+)/.exec(head)?.[1]));
  assert.equal(await server.kill("SIGTERM"), 0);
});
