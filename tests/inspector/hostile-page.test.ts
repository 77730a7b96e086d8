// The page of the inspector in Chromium, with recordings that a stranger has made: as the commands
// print it, opened from a file, with the network off.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import { hostileOthers, hostileTraffic, hostileValues } from "./support/hostile.ts";
import { actedOn, Inspector, root } from "./support/page.ts";
import { Recorder } from "./support/recorder.ts";

const HEADER = '{"trace":2,"core":"1","config":{}}';
const evil = [
  "a script that ends its element",
  "marks that reverse text",
  "terminal escapes and NUL",
]
  .map((name) => JSON.parse(hostileValues[name]!) as string)
  .join("");

/** Each prints a page with the recording of this file. */
const commands: Readonly<Record<string, readonly string[]>> = {
  "covenant-sidekick-replay": [
    process.execPath,
    join(root, "worker/dist/node/replay-cli.js"),
    "--html",
  ],
  "sidekick-trace": [join(root, "build/native/sidekick-trace"), "html"],
};

let browser: Browser;
let folder: string;
let inspector: Inspector;

before(async () => {
  browser = await launchBrowser();
  folder = mkdtempSync(join(tmpdir(), "sidekick-hostile-"));
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  inspector = await Inspector.open(browser, folder);
});
afterEach(async () => {
  await inspector.close();
  assert.deepEqual(inspector.complaints, []);
});

async function open([command, ...flags]: readonly string[], file: string | Buffer): Promise<void> {
  const page = join(folder, "page.html");
  const script = join(folder, "run.sh"); // the flags of Node are text, but names are bytes
  const quoted = Buffer.concat([Buffer.from("'"), Buffer.from(file), Buffer.from("'")]);
  writeFileSync(script, Buffer.concat([Buffer.from('exec "$@" '), quoted]));
  const run = { cwd: folder, maxBuffer: 1 << 28 };
  writeFileSync(page, execFileSync("sh", [script, command!, ...flags], run));
  await inspector.page.goto("about:blank");
  await inspector.page.goto(pathToFileURL(page).href);
  await inspector.loaded();
}

for (const [name, command] of Object.entries(commands)) {
  describe(`the page that ${name} prints`, () => {
    it("shows as text what clients and an app server may send", async () => {
      const file = '<b>\u202e & "\\#?%.jsonl';
      const { text } = hostileTraffic(evil);
      writeFileSync(join(folder, file), text);
      await open(command, file);
      assert.match(await inspector.summary(), /^<b>\\u202e & "\\#\?%\.jsonl /);
      await inspector.walk(text.split("\n").length - 1);
      const main = await inspector.page.locator("main").textContent();
      assert.match(main!, /<\/script><script>owned = 1/);
    });
  });
}

it("the page shows as text what no hub records", async () => {
  const lines = [
    ...["a script that ends its element", "marks that reverse text", "marks as base64"],
    ...["an object with its own toString", "a time after all dates", "12,000 levels"],
  ].flatMap((name) => hostileOthers(hostileValues[name]!));
  const text = [HEADER, ...lines, ""].join("\n");
  await inspector.show({ name: "others.jsonl", text });
  await inspector.walk(lines.length + 1);
});

it("the page names a file whose name is not UTF-8", async () => {
  const file = Buffer.concat([Buffer.from("a\xff\xe2\x80.jsonl", "latin1")]);
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), file]), hostileTraffic("x").text);
  await open(commands["sidekick-trace"]!, file);
  assert.match(await inspector.summary(), /^a\ufffd\ufffd\.jsonl /);
});

it("a filter that a link makes finds the line, and has no mark", async () => {
  await inspector.show({ name: "a.jsonl", text: hostileTraffic(evil).text }, "#line=100&tab=state");
  const { page, panel } = inspector;
  for (const row of ["Tokens", "Topics"]) {
    await panel.locator(`h3:has-text("${row}") + table td.name button`).first().click();
    await page
      .locator("#matches")
      .getByText(/^[2-4] inputs$/)
      .waitFor();
    await inspector.assertHarmless();
  }
});

it("the address has no say beyond what is shown", async () => {
  const hash = new URLSearchParams({
    line: "4",
    tab: "why",
    client: evil,
    topic: evil,
    state: evil,
  });
  await inspector.show({ name: "a.jsonl", text: hostileTraffic("x").text }, `#${hash}`);
  await inspector.panel.locator(":scope > *").first().waitFor();
  await inspector.page.keyboard.press("p");
  await inspector.panel.getByText(/published at/).waitFor();
  assert.equal(await inspector.page.evaluate(() => "owned" in globalThis), false);
  const facts = (await inspector.panel.locator(".facts").allTextContents()).join();
  assert.doesNotMatch(facts, actedOn);
});

it("lines of 10 MB do not keep the page from answering", async () => {
  const long = "x".repeat(10_000_000);
  const recorder = new Recorder({ frame_bytes_max: 16_000_000 }).begin();
  const lines = [
    `{"in":"client_frame","now":1,"client":1,"bytes":"${long}","is_text":1}`,
    `{"out":"put_token","state":2,"expires_at":0,"key":"${long}","record":"{}","durable":1}`,
    `{"out":"send","clients":[${"1,".repeat(1_000_000)}1],"text":"{}","code":"ok"}`,
    '{"in":"http_request","now":1,"request":1,"method":"POST","path":"/resources",' +
      `"body":${JSON.stringify(`{"resources":[${'"r",'.repeat(100_000)}"${long}"]}`)}}`,
    `{${Array.from({ length: 200_000 }, (_, index) => `"${index}":1`).join(",")}}`,
    `{"in":"timer_fired","now":1,"x":${"[".repeat(500_000)}${"]".repeat(500_000)}}`,
    long,
  ];
  await inspector.show({ name: "long.jsonl", text: `${recorder.text}${lines.join("\n")}\n` });
  await inspector.walk(recorder.text.split("\n").length - 1 + lines.length);
  const text = await inspector.page.locator("main").textContent();
  assert.ok(text!.length < 200_000, `${text!.length} characters`);
});

it("the number of inputs is the same with a filter that matches all lines", async () => {
  const { text } = hostileTraffic("x");
  const inputs = text.match(/^\{"in"/gm)!.length;
  await inspector.show({ name: "a.jsonl", text: text + text });
  assert.match(await inspector.summary(), new RegExp(`${2 * inputs} inputs`));
  await inspector.page.fill("#filter", '"{"');
  await inspector.page
    .locator("#matches")
    .getByText(`${2 * inputs} inputs`)
    .waitFor();
});
