// scripts/run cluster in a real browser: two tabs on two Sidekicks, one in Node and one native.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import type { Browser } from "playwright-core";
import { chat, launchBrowser, shareTheList, Tab } from "../hosts/recordings/demo.ts";
import { root } from "../hosts/shared/covenant-support/sidekick-process.ts";
import { environment } from "../hosts/shared/support/command.ts";

let browser: Browser | undefined;
let cluster: ChildProcess | undefined;
after(async () => {
  await browser?.close();
  cluster?.kill("SIGTERM");
});

const randomPort = (from: number) => String(from + Math.floor(Math.random() * 5_000));

test("two tabs on two Sidekicks share the demo, and one Sidekick may be killed", async () => {
  const demoPort = randomPort(15_000);
  cluster = spawn(`${root}/scripts/run`, ["cluster"], {
    env: { ...environment(), SIDEKICK_PORT: randomPort(20_000), DEMO_PORT: demoPort },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  for (const stream of [cluster.stdout!, cluster.stderr!])
    stream.on("data", (chunk: Buffer) => void (log += chunk.toString()));
  const says = async (what: RegExp) => {
    for (const end = Date.now() + 600_000; !what.test(log); ) {
      assert.equal(cluster!.exitCode, null, log);
      assert.ok(Date.now() < end, `scripts/run cluster does not say ${what}:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await says(/in two browser tabs/);

  browser = await launchBrowser();
  const open = async () => {
    const tab = new Tab(await (await browser!.newContext()).newPage());
    await tab.open(`http://localhost:${demoPort}`);
    return tab;
  };
  const [left, right] = [await open(), await open()];
  const nodeOf = async (tab: Tab) => {
    await tab.page.locator("#node:not(:empty)").waitFor();
    return tab.page.locator("#node").textContent();
  };
  assert.deepEqual([await nodeOf(left), await nodeOf(right)].sort(), ["to native", "to node"]);
  await shareTheList(left, right);
  await chat(left, right);

  const pids = await childrenOf(cluster.pid!);
  const victim = pids.find(({ command }) => command.includes("sidekick-server"));
  assert.ok(victim, JSON.stringify(pids));
  process.kill(victim.pid, "SIGKILL");
  await says(/a Sidekick exited \(status 137\); its tabs connect to the other one/);
  for (const tab of [left, right])
    await tab.page.locator("#node").getByText("to node", { exact: true }).waitFor();
  await left.say("Still there?");
  await right.hears("Still there?");
  await right.say("Still here.");
  await left.hears("Still here.");

  cluster.kill("SIGINT");
  const [code] = await once(cluster, "close");
  assert.equal(code, 130, log);
});

async function childrenOf(pid: number): Promise<{ pid: number; command: string }[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Promise.all(
    children
      .trim()
      .split(" ")
      .map(async (child) => ({
        pid: Number(child),
        command: await readFile(`/proc/${child}/cmdline`, "utf8"),
      })),
  );
}
