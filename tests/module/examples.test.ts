// The examples of docs/embedding.md: they run, they agree, and the document shows what was run.
// UPDATE=1 rewrites stale parts.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { python, root, run } from "./support.ts";

const module = "build/sidekick.wasi.wasm";
const expected = "docs/examples/conversation.txt";
const document = "docs/embedding.md";
const examples = [
  { name: "C++", command: ["build/native/sidekick-conversation", module] },
  {
    name: "Python",
    command: [python, "docs/examples/python/conversation.py", module, "wasm-bindings/border.json"],
  },
] as const;

for (const { name, command } of examples) {
  test(`the example in ${name} holds the conversation`, async () => {
    const [file, ...args] = command;
    const ran = await run(file, args);
    assert.equal(ran.stderr, "");
    assert.equal(ran.status, 0);
    check(expected, ran.stdout);
  });

  test(`the example in ${name} reports what is wrong with a module`, async () => {
    const [file, ...args] = command;
    const ran = await run(
      file,
      args.map((arg) => (arg === module ? "build/sidekick-trace.wasm" : arg)),
    );
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /import/); // this module has imports, and gets none
  });
}

test("the document shows the current examples", () => {
  const text = readFileSync(root + document, "utf8");
  const names = [...text.matchAll(/<!-- file: (\S+) -->/g)].map(([, name]) => name!);
  assert.ok(
    names.length >= 1,
    `expected an example in ${document}, found ${names.join(", ") || "none"}`,
  );
  const current = text.replace(
    /(<!-- file: (\S+) -->\n```\w*\n)[^]*?(^```\n)/gm,
    (_, begin, name, end) => begin + readFileSync(root + name, "utf8") + end,
  );
  check(document, current);
});

function check(path: string, text: string): void {
  if (process.env["UPDATE"] === "1") writeFileSync(root + path, text);
  assert.equal(text, readFileSync(root + path, "utf8"), `${path} is stale: UPDATE=1 rewrites it`);
}
