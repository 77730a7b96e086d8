// scripts/run as a user sees it: what it starts, what it prints, and that nothing is left behind.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Inbox } from "./covenant-support/inbox.js";
import { root } from "./covenant-support/sidekick-process.js";
import { environment } from "./support/command.js";
import { closeEverything, listen } from "./support/left-open.js";

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill("SIGTERM");
});
after(closeEverything);

/** Runs the script from a folder outside the project. */
function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(join(root, "scripts/run"), args, {
    cwd: tmpdir(),
    env: { ...environment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const output = new Inbox<string>();
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      output.put(text);
    });
  }
  const ended = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    return (code ?? signal) as number | string;
  });
  return {
    child,
    ended,
    text: () => text,
    says: (what: RegExp) => output.find(String(what), (t) => what.test(t)),
  };
}

/** Outside the ephemeral port range: a free port here stays free until it is used. */
async function freePort(from: number): Promise<string> {
  for (;;) {
    const port = String(from + Math.floor(Math.random() * 10_000));
    if (await isFree(port)) return port;
  }
}

const freePorts = async () => ({ sidekick: await freePort(10_000), demo: await freePort(20_000) });

const isFree = (port: string) =>
  new Promise<boolean>((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(Number(port), () => probe.close(() => resolve(true)));
  });

describe("scripts/run", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`starts a Sidekick and the app, prints the address, and stops both on ${signal}`, async () => {
      const ports = await freePorts();
      const demo = run([], { SIDEKICK_PORT: ports.sidekick, DEMO_PORT: ports.demo });
      await demo.says(new RegExp(`Open http://localhost:${ports.demo} in two browser tabs`));
      const page = await fetch(`http://localhost:${ports.demo}/`);
      assert.match(await page.text(), /<title>Sidekick demo<\/title>/);
      const forged = await fetch(`http://localhost:${ports.demo}/api/covenant?type=channel`, {
        method: "POST",
        body: "{}",
      });
      assert.equal(forged.status, 401, "a forward without the secret must be rejected");
      demo.child.kill(signal);
      assert.equal(await demo.ended, signal === "SIGINT" ? 130 : 143, demo.text());
      assert.deepEqual([await isFree(ports.sidekick), await isFree(ports.demo)], [true, true]);
    });
  }

  for (const [index, what] of ["the Sidekick", "the app"].entries()) {
    it(`stops and reports it when ${what} ends`, async () => {
      const ports = await freePorts();
      const demo = run([], { SIDEKICK_PORT: ports.sidekick, DEMO_PORT: ports.demo });
      await demo.says(/Ctrl\+C stops both/);
      const children = await readFile(
        `/proc/${demo.child.pid}/task/${demo.child.pid}/children`,
        "utf8",
      );
      process.kill(Number(children.trim().split(" ")[index]), "SIGKILL");
      assert.equal(await demo.ended, 1, demo.text());
      assert.match(demo.text(), new RegExp(`${what} exited \\(status 137\\)`));
      assert.deepEqual([await isFree(ports.sidekick), await isFree(ports.demo)], [true, true]);
    });
  }

  it("leaves nothing behind when it is killed", async () => {
    const ports = await freePorts();
    const demo = run([], { SIDEKICK_PORT: ports.sidekick, DEMO_PORT: ports.demo });
    await demo.says(/Ctrl\+C stops both/);
    demo.child.kill("SIGKILL");
    await demo.ended; // "close": nothing holds its output any more
    assert.deepEqual([await isFree(ports.sidekick), await isFree(ports.demo)], [true, true]);
  });

  it("ignores the ports that Kubernetes sets for Services of these names", async () => {
    const service = "tcp://10.96.0.12:3001";
    for (const [variable, other, port] of [
      ["SIDEKICK_PORT", "DEMO_PORT", "3001"],
      ["DEMO_PORT", "SIDEKICK_PORT", "3000"],
    ] as const) {
      const demo = run([], { [variable]: service, [other]: port });
      assert.equal(await demo.ended, 1);
      assert.match(demo.text(), new RegExp(`ignored ${variable}=${service}: .*; using ${port}\n`));
      assert.match(demo.text(), new RegExp(`are both ${port}`));
    }
  });

  for (const [variable, other] of [
    ["SIDEKICK_PORT", "DEMO_PORT"],
    ["DEMO_PORT", "SIDEKICK_PORT"],
  ] as const) {
    it(`reports that ${variable} is in use, and starts nothing`, async () => {
      const port = await listen(createServer());
      const ports = await freePorts();
      const demo = run([], { [variable]: String(port), [other]: ports.demo });
      assert.equal(await demo.ended, 1);
      assert.match(demo.text(), new RegExp(`port ${port} is in use.*${variable}=`));
      assert.equal(await isFree(ports.demo), true);
    });
  }

  it("node: replaces the shell with the Sidekick, so that signals reach it", async () => {
    const sidekick = run([
      "node",
      "--port",
      "0",
      "--secret",
      "s",
      "--server-url",
      "http://127.0.0.1:9",
      "--server-secret",
      "t",
    ]);
    await sidekick.says(/http:\/\/[^\s/]+:\d+/);
    sidekick.child.kill("SIGTERM");
    assert.equal(await sidekick.ended, 0, sidekick.text());
  });

  it("rejects an unknown command and lists the known ones", async () => {
    const wrong = run(["frobnicate"]);
    assert.equal(await wrong.ended, 2);
    assert.match(wrong.text(), /got 'frobnicate'[\s\S]*scripts\/run node/);
  });
});
