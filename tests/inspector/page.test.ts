// The page of the inspector in Chromium: opened from a file, with the network off.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { launchBrowser } from "../hosts/recordings/demo.ts";
import { Inspector, moduleBytes, pageText, root } from "./support/page.ts";
import { Recorder } from "./support/recorder.ts";

const PAGE_BYTES_MAX = 250_000;
const folder = join(root, "tests/core/traces");
const traces = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
const header = readFileSync(join(folder, "tokens.jsonl"), "utf8").split("\n")[0]!;

let browser: Browser;
let temporary: string;
let inspector: Inspector;

before(async () => {
  browser = await launchBrowser();
  temporary = mkdtempSync(join(tmpdir(), "sidekick-inspector-"));
});
after(async () => {
  await browser?.close();
  rmSync(temporary, { recursive: true, force: true });
});
beforeEach(async () => {
  inspector = await Inspector.open(browser, temporary);
});
afterEach(async () => {
  await inspector.close();
  assert.deepEqual(inspector.complaints, []);
});

/** A room with two clients, of which one has left it. */
function chat(): Recorder {
  const recorder = new Recorder().begin();
  recorder.open(1);
  recorder.open(2);
  recorder.subscribe(1, "t1", { roomId: "1" });
  recorder.subscribe(2, "t2", { roomId: "1" });
  recorder.frame(2, { type: "unsubscribe", token: "t2" });
  recorder.publish({ roomId: "1" }, { text: "hello" });
  recorder.frame(2, { type: "subscribe", token: "guess" });
  return recorder;
}

const rows = (): Promise<string[]> =>
  inspector.page.locator(".row:not(.row[class=row])").allInnerTexts();

describe("the page", () => {
  it(`has less than ${PAGE_BYTES_MAX} bytes without a recording, as the command prints it`, () => {
    const replay = join(root, "worker/dist/node/replay-cli.js");
    const page = execFileSync(process.execPath, [replay, "--html"]);
    assert.ok(page.length < PAGE_BYTES_MAX, `${page.length} bytes`);
    assert.match(
      page.toString(),
      /<script type="text\/plain" id="module" data-encoding="gzip">H4sI/,
    );
  });

  it("opens every golden trace, from the command's page", async () => {
    for (const name of traces) {
      const text = readFileSync(join(folder, name), "utf8");
      await inspector.show({ name, text });
      const lines = text.trimEnd().split("\n").length.toLocaleString("en");
      assert.ok((await inspector.summary()).includes(`${name} ${lines} lines`), name);
      await inspector.page.keyboard.press("End");
      const last = inspector.page.locator(".row.selected .number");
      await last.getByText(lines.replaceAll(",", ""), { exact: true }).waitFor();
      for (const tab of ["2", "3", "4", "1"]) await inspector.page.keyboard.press(tab);
      assert.deepEqual(inspector.complaints, [], name);
    }
  });

  it("opens the page that sidekick-trace prints", async () => {
    const trace = join(root, "build/native/sidekick-trace");
    const page = join(temporary, "native.html");
    const name = "a & <b>.jsonl";
    writeFileSync(join(temporary, name), chat().text);
    writeFileSync(page, execFileSync(trace, ["html", join(temporary, name)]));
    await inspector.page.goto(pathToFileURL(page).href);
    await inspector.loaded();
    assert.equal((await inspector.summary()).slice(0, name.length), name);
  });

  it("opens a file, and a gzipped one", async () => {
    const recording = chat().text;
    const page = join(temporary, "empty.html");
    writeFileSync(page, await pageText());
    await inspector.page.goto(pathToFileURL(page).href);
    await inspector.page.getByText("Drop a recording here").waitFor();
    writeFileSync(join(temporary, "a.jsonl"), recording);
    await inspector.page.setInputFiles("#file", []);
    const chooser = inspector.page.waitForEvent("filechooser");
    await inspector.page.getByText("Open…", { exact: true }).click();
    await (await chooser).setFiles(join(temporary, "a.jsonl"));
    await inspector.loaded();
    assert.match(await inspector.summary(), /^a\.jsonl/);
    execFileSync("gzip", ["-k", join(temporary, "a.jsonl")]);
    const again = inspector.page.waitForEvent("filechooser");
    await inspector.page.getByText("Open…", { exact: true }).click();
    await (await again).setFiles(join(temporary, "a.jsonl.gz"));
    await inspector.page.locator("#summary b").getByText("a.jsonl.gz").waitFor();
    await inspector.loaded();
    const lines = recording.trimEnd().split("\n").length;
    assert.match(await inspector.summary(), new RegExp(`a.jsonl.gz ${lines} lines`));
  });

  it("goes to the line of the address, and keeps it there", async () => {
    await inspector.show({ name: "chat.jsonl", text: chat().text }, "#line=9&tab=state");
    await inspector.panel.getByText("After line 6", { exact: true }).waitFor();
    await inspector.page.keyboard.press("ArrowDown");
    await inspector.page.waitForURL(/#line=10&tab=state$/);
    await inspector.page.keyboard.press("ArrowLeft");
    await inspector.page.keyboard.press("1");
    await inspector.page.waitForURL(/#line=6$/);
    await inspector.panel.getByText("http_request", { exact: true }).waitFor();
  });

  it("follows links by keys, and goes back", async () => {
    const recorder = chat();
    await inspector.show({ name: "chat.jsonl", text: recorder.text }, "#line=26");
    const { page, panel } = inspector;
    const focused = page.locator("#panel button.link:focus");
    await panel.getByText("client 1 receives it because of subscribe").waitFor();
    await page.keyboard.press("Enter");
    await focused.getByText("line 25").waitFor();
    await page.keyboard.press("Tab"); // who got it
    await page.keyboard.press("Tab");
    await focused.getByText("line 10").waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(/#line=10$/);
    await panel.getByText("delivers chat/roomId:1").waitFor();
    await page.goBack();
    await page.locator(".row.selected .number").getByText("26", { exact: true }).waitFor();
    await page.goForward();
    await page.locator(".row.selected .number").getByText("10", { exact: true }).waitFor();
  });

  it("restores from the address what was shown", async () => {
    const show = (hash: string) =>
      inspector.show({ name: "chat.jsonl", text: chat().text }, `#${hash}`);
    const { page, panel } = inspector;
    await show("line=21&tab=state&filter=client%3A2&only=no&state=t1");
    await panel.getByText("After line 21", { exact: true }).waitFor();
    assert.equal(await panel.locator("input").inputValue(), "t1");
    assert.equal(await page.isChecked("#only"), false);
    assert.equal(await page.inputValue("#filter"), "client:2");
    await panel.locator("input").fill("t2");
    await page.waitForURL(/&state=t2$/);
    await show("line=26&tab=why&client=2");
    await panel.getByText(/Left before/).waitFor();
    assert.equal(await panel.locator("tbody tr").count(), 1);
  });

  it("filters inputs with their actions, and steps through matches", async () => {
    await inspector.show({ name: "chat.jsonl", text: chat().text });
    const { page } = inspector;
    await page.keyboard.press("/");
    const matches = async (filter: string): Promise<string> => {
      await page.fill("#filter", filter);
      await page.waitForURL((url) => url.hash.includes(encodeURIComponent(filter).slice(0, 4)));
      await page
        .locator("#matches")
        .getByText(/^\d+ inputs?$/)
        .waitFor();
      return (await page.locator("#matches").textContent()) ?? "";
    };
    assert.equal(await matches("error"), "1 input");
    assert.equal(await matches("client:2 type:unsubscribe"), "1 input");
    assert.equal(await matches("token:t1"), "2 inputs");
    assert.equal(await matches("topic:chat/roomId:1"), "6 inputs");
    assert.equal(await matches('"HELLO"'), "1 input");
    assert.equal(await matches("topic:chat -client:2 -type:http_request"), "1 input");
    assert.equal(await matches("nothing at all"), "0 inputs");
    await page.getByText("No input matches the filter.").waitFor();
    assert.equal(await matches("error"), "1 input");
    assert.equal((await rows()).length, 2);
    await page.uncheck("#only");
    await page.focus("#list");
    await page.keyboard.press("Home");
    await page.keyboard.press("n");
    await page.locator(".row.selected").getByText("subscribe  guess").waitFor();
  });

  /** All at once: none of them waits for the page. */
  const typed = (...keys: string[]): Promise<void> =>
    inspector.page.evaluate((names) => {
      for (const key of names)
        document.activeElement!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }, keys);

  it("applies keys in the order in which they came, however fast", async () => {
    const recorder = chat();
    const left =
      Number(recorder.text.split("\n").findIndex((line) => /unsubscribe/.test(line))) + 1;
    await inspector.show({ name: "chat.jsonl", text: recorder.text });
    const { page } = inspector;
    const selected = (line: number): Promise<void> =>
      page.locator(".row.selected .number").getByText(String(line), { exact: true }).waitFor();
    await page.fill("#filter", "type:unsubscribe");
    await page.keyboard.press("Enter"); // before the pause that ends the typing
    await selected(left);
    await page.uncheck("#only");
    await page.focus("#list");
    await typed("End", "Home", "n");
    await selected(left);
    await typed("Home", ...Array<string>(12).fill("ArrowDown"), "ArrowUp");
    await selected(12);
    await typed("Home", ...Array<string>(5).fill("ArrowRight"));
    await selected(6);
    await typed("ArrowRight", "ArrowDown", "ArrowLeft", "2");
    await inspector.panel.getByText("After line 10", { exact: true }).waitFor();
    await selected(10);
  });

  it("shows broken lines, and says if a file is not a recording", async () => {
    await inspector.show({ name: "a.jsonl", text: `${header}\nnonsense\n{"in":\n\n{"out":"x"}` });
    assert.equal(await inspector.page.locator(".row.broken").count(), 4);
    await inspector.show({ name: "b.jsonl", text: "nothing\n" });
    await inspector.page.getByText("This is no recording").waitFor();
  });

  it("reaches the last of a million lines by the scroll bar and by keys", async () => {
    const count = 1_000_000;
    const line = '{"in":"timer_fired","now":1}\n';
    await inspector.show({ name: "long.jsonl", text: `${header}\n${line.repeat(count)}` });
    const { page } = inspector;
    const height = await page.locator("#space").evaluate((element) => element.clientHeight);
    assert.ok(height < 16_000_000, "Firefox draws no element of more than 17,895,697 pixels");
    const last = page.locator(".row .number").getByText(String(count + 1), { exact: true });
    await page.locator("#list").evaluate((element) => (element.scrollTop = element.scrollHeight));
    await last.waitFor();
    await page.locator("#list").evaluate((element) => (element.scrollTop = 0));
    await page.locator(".row .number").getByText("1", { exact: true }).waitFor();
    await page.keyboard.press("End");
    await page
      .locator(".row.selected")
      .getByText(String(count + 1), { exact: true })
      .waitFor();
    // Near the end, a turn of the wheel moves by as much as in a short list.
    await page.mouse.move(300, 400);
    await page.mouse.wheel(0, -220);
    await page
      .locator(".row .number")
      .getByText(String(count - 20), { exact: true })
      .waitFor();
    await page.mouse.wheel(0, 220);
    await last.waitFor();
  });

  it("shows who got a message and why another did not", async () => {
    await inspector.show({ name: "chat.jsonl", text: chat().text }, "#tab=why");
    await inspector.page.keyboard.press("p");
    await inspector.panel.getByText("Who got chat/roomId:1?").waitFor();
    const answers = inspector.panel.locator("tbody tr");
    assert.equal(await answers.nth(0).getAttribute("data-reason"), "delivered");
    assert.equal(await answers.nth(1).getAttribute("data-reason"), "left");
    assert.match((await answers.nth(1).textContent()) ?? "", /Left before: it unsubscribed/);
  });

  it("marks what an input has changed", async () => {
    const recorder = chat();
    const line = recorder.frame(1, { type: "unsubscribe", token: "t1" });
    await inspector.show({ name: "chat.jsonl", text: recorder.text }, `#line=${line}&tab=state`);
    await inspector.panel.getByText(`After line ${line}`).waitFor();
    const marked = await inspector.panel.locator("tr.changed, tr.gone, tr.new").allInnerTexts();
    assert.deepEqual(
      marked.map((text) => text.split("\t").slice(0, 3).join(" ").trim()),
      ["~ 1 nothing", "− t1 subscribed", "− chat/roomId:1"],
    );
  });

  /** Opens a file with a button of the view Verify. Returns the text that the page shows. */
  async function verdictOf(button: string, name: string, bytes: string | Uint8Array) {
    const file = join(temporary, name);
    writeFileSync(file, bytes);
    const chooser = inspector.page.waitForEvent("filechooser");
    await inspector.panel.getByText(button, { exact: true }).click();
    await (await chooser).setFiles(file);
    const verdict = inspector.panel.locator(".verdict");
    await verdict.getByText(name).waitFor();
    return (await verdict.textContent()) ?? "";
  }

  it("shows which inputs another module answers differently", async () => {
    const recorder = chat();
    const again = recorder.frame(1, { type: "subscribe", token: "guess" });
    recorder.frame(1, { type: "ping" });
    await inspector.show({ name: "chat.jsonl", text: recorder.text }, "#tab=verify");
    const same = await verdictOf("Another module…", "same.wasm", moduleBytes);
    assert.match(same, /same\.wasm answers all inputs as recorded/);
    const other = Buffer.from(moduleBytes);
    const at = other.indexOf("invalid token: unknown");
    assert.notEqual(at, -1);
    other.write("Invalid", at);
    const changed = await verdictOf("Another module…", "other.wasm", other);
    assert.match(changed, /other\.wasm answers 2 inputs differently/);
    assert.match(changed, new RegExp(`client_frame: 2 inputs; the first at line ${again - 1}`));
    const wrong = await verdictOf("Another module…", "wrong.wasm", "no module");
    assert.match(wrong, /wrong\.wasm cannot be used/);
  });

  it("shows the first line in which another recording differs", async () => {
    const { text } = chat();
    await inspector.show({ name: "chat.jsonl", text }, "#tab=verify");
    const same = await verdictOf("Another recording…", "same.jsonl", text);
    assert.match(same, /same\.jsonl has the same lines/);
    const other = text.replace('"status":200', '"status":201');
    const differs = await verdictOf("Another recording…", "other.jsonl", other);
    assert.match(differs, /other\.jsonl differs at line 8[^]*"status":200[^]*"status":201/);
    const short = text.split("\n").slice(0, 9).join("\n");
    const shorter = await verdictOf("Another recording…", "short.jsonl", short);
    assert.match(shorter, /short\.jsonl has fewer lines: 9 instead of 29/);
  });

  it("replays in the page, and shows the first difference", async () => {
    const { text } = chat();
    const replay = async (recording: string): Promise<string> => {
      await inspector.show({ name: "chat.jsonl", text: recording }, "#tab=verify");
      await inspector.panel.getByText("Replay", { exact: true }).click();
      const verdict = inspector.panel.locator(".verdict");
      await verdict.waitFor();
      return (await verdict.textContent()) ?? "";
    };
    assert.match(await replay(text), /11 inputs replayed, all actions equal/);
    const changed = text.replace('"status":200', '"status":201');
    assert.match(await replay(changed), /differs at line 8[^]*"status":201[^]*"status":200/);
    assert.match(await replay(text.slice(0, -30)), /cut off/);
    const lines = text.split("\n").length - 1;
    assert.match(
      await replay(`${text}{"gap":57}\n${text}`),
      new RegExp(`22 inputs replayed, all actions equal[^]*line ${lines}: a gap: 57 lines`),
    );
  });
});
