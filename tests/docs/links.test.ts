// What the documentation refers to exists: files and anchors behind relative links, scripts, npm
// scripts, CMake presets, and the flags of our commands. Lines end at column 100.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const listed = execFileSync(
  "git",
  ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"],
  { cwd: root, encoding: "utf8" },
);
const pages = listed.split("\0").filter((path) => path !== "" && existsSync(join(root, path)));

/** Where each command defines its flags. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  "sidekick-serve": ["worker/src/node/cli.ts"],
  "covenant-sidekick": ["worker/src/node/cli.ts"],
  "sidekick-server": ["worker/native/cli.cpp"],
  "scripts/run node": ["worker/src/node/cli.ts"],
  "scripts/run native": ["worker/native/cli.cpp"],
  "scripts/run worker": ["worker/workerd/run-worker.ts"],
  "scripts/bench": ["scripts/bench"],
  "sidekick-trace": ["worker/trace/main.cpp"],
  "sidekick-sim": ["tests/sim/main.cpp"],
};

test("there are pages to check", () =>
  assert.ok(pages.includes("README.md") && pages.length > 10, `only ${pages}`));

for (const page of pages) {
  const text = read(page);

  test(`${page}: relative links lead to files and headings that exist`, () => {
    for (const [, target] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const [file, anchor] = target!.split("#") as [string, string?];
      const path = file === "" ? page : relative(root, join(root, dirname(page), file));
      assert.ok(existsSync(join(root, path)), `${target}: there is no ${path}`);
      if (anchor === undefined) continue;
      assert.ok(statSync(join(root, path)).isFile(), `${target}: a folder has no headings`);
      assert.ok(anchors(read(path)).has(anchor), `${target}: ${path} has no such heading`);
    }
  });

  test(`${page}: lines end at column 100, except tables, code and links`, () => {
    for (const line of withoutCode(text).split("\n")) {
      if (/^(\||!\[| {4}\S)/.test(line) || !line.trim().includes(" ")) continue;
      assert.ok([...line].length <= 100, `too long: ${line}`);
    }
  });

  test(`${page}: the scripts and presets it names exist`, () => {
    for (const [, name] of text.matchAll(/(?<![\w/.-])scripts\/([a-z][a-z-]*(?:\.sh)?)/g))
      assert.ok(existsSync(join(root, "scripts", name!)), `scripts/${name}`);
    const { scripts } = JSON.parse(read("package.json")) as { scripts: object };
    for (const [, name] of text.matchAll(/\bnpm run ([a-z:-]+)/g))
      assert.ok(name! in scripts || isOfAnotherPackage(page), `npm run ${name}`);
    const presets = read("CMakePresets.json");
    for (const [, name] of text.matchAll(/--preset (\w+)/g))
      assert.ok(presets.includes(`"name": "${name}"`), `--preset ${name}`);
  });

  test(`${page}: the flags it shows exist`, () => {
    for (const command of commandsIn(text)) {
      const name = Object.keys(COMMANDS).find((it) => startsWithCommand(command, it));
      if (name === undefined) continue;
      const source = COMMANDS[name]!.map(read).join("\n");
      for (const [, flag] of command.matchAll(/\s--([a-z][a-z-]*)/g)) {
        const isKnown = new RegExp(`--${flag}(?![\\w-])`).test(source); // their help has them all
        assert.ok(isKnown, `${name} has no --${flag}: ${command}`);
      }
    }
  });
}

/** Fenced code and code spans blanked: what looks like a link in them is none. */
function withoutCode(text: string): string {
  return text
    .replace(/^```[^]*?^```$/gm, "")
    .replace(/`[^`\n]*`/g, (span) => "x".repeat(span.length));
}

/** As GitHub makes them of headings. */
function anchors(text: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading] of text.replace(/^```[^]*?^```$/gm, "").matchAll(/^#+ (.+)$/gm)) {
    const plain = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
    let name = anchor;
    for (let i = 1; found.has(name); i++) name = `${anchor}-${i}`;
    found.add(name);
  }
  return found;
}

/** Lines of fenced shell code, joined where they go on, and code spans. */
function commandsIn(text: string): string[] {
  const commands: string[] = [];
  for (const [, code] of text.matchAll(/^```(?:sh|bash)?\n([^]*?)^```$/gm)) {
    const lines = code!.replaceAll("\\\n", " ").split("\n");
    commands.push(...lines.map((line) => line.replace(/\s#.*/, "")));
  }
  for (const [, span] of text.matchAll(/`([^`\n]+)`/g)) commands.push(span!);
  return commands;
}

function startsWithCommand(command: string, name: string): boolean {
  const words = command.trim().replace(/^(?:sudo |npx |bunx |build\/native\/)+/, "");
  return words === name || words.startsWith(`${name} `);
}

function isOfAnotherPackage(page: string): boolean {
  return page.startsWith("docs/examples/");
}
