// docs/getting-started.md, docs/client.md and docs/write-a-host.md: what they show is compiled and
// run.
import assert from "node:assert/strict";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { launchBrowser } from "../recordings/demo.ts";
import {
  appFolder,
  bun,
  cleanUp,
  deno,
  npmInstall,
  root,
  run,
  start,
  tarball,
  tsx,
} from "./support/installed.ts";

const page = (name: string) => readFile(join(root, "docs", name), "utf8");
const node = [process.execPath, "--import", tsx];
/** The npm client needs Node 22. */
const canRunClient = Number(process.versions.node.split(".")[0]) >= 22;
let folder: string;
let appPort: number;
let sidekickPort: number;

before(async () => {
  folder = await appFolder(npmInstall(await tarball()));
  // In the versions that the workspace pins, without asking the registry.
  for (const name of ["@covenant-rpc", "@hono", "@types", "hono", "undici-types", "zod"]) {
    await symlink(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  [appPort, sidekickPort] = [await freePort(), await freePort()];
  await mkdir(join(folder, "public"));
  assert.deepEqual(await writeShown("getting-started.md"), [
    ...["covenant.ts", "app.ts", "server-hono.ts", "server-bun.ts", "client.ts"],
  ]);
  assert.deepEqual(await writeShown("client.md"), [
    ...["server-page.ts", "public/index.html", "page.ts", "use-connection.ts", "connection.ts"],
    ...["wake.ts", "sidekick.ts", "sidekick-vercel.ts", "sidekick-workers.ts", "sidekick-next.ts"],
  ]);
});
after(cleanUp);

/** Writes the files that a page shows, and returns their names. */
async function writeShown(name: string): Promise<string[]> {
  const text = await page(name);
  const shown = [...text.matchAll(/```(?:ts|html)\n(?:\/\/|<!--) (\S+)(?: -->)?\n(.*?)```/gs)];
  for (const [, file = "", code = ""] of shown) {
    const ours = code
      .replaceAll("localhost:3000", `localhost:${appPort}`)
      .replaceAll("localhost:3001", `localhost:${sidekickPort}`);
    await writeFile(join(folder, file), ours);
  }
  return shown.map(([, file = ""]) => file);
}

/** Below the ports that the system gives to other sockets: it stays free until it is used. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 10000);
    const server = createServer().listen(port);
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** All that the files need of packages that are not installed here. */
const OTHERS = `
declare const Bun: {
  serve(options: {
    port: number;
    routes: Record<string, { POST(request: Request): unknown }>;
  }): { port: number };
};
declare module "react" {
  export function useSyncExternalStore<T>(
    subscribe: (onChange: () => void) => () => void,
    get: () => T,
    getOnServer?: () => T,
  ): T;
}
declare module "react-native" {
  export const AppState: {
    addEventListener(type: "change", listener: (state: string) => void): { remove(): void };
  };
}
declare module "@vercel/functions" {
  export function waitUntil(promise: Promise<unknown>): void;
}
declare module "cloudflare:workers" {
  export function waitUntil(promise: Promise<unknown>): void;
  export const env: { SIDEKICK_URL: string; SIDEKICK_SECRET: string };
}
declare module "next/server" {
  export function after<T>(task: Promise<T> | (() => T | Promise<T>)): void;
}
`;

test("the files of getting-started.md and client.md compile", async () => {
  await writeFile(join(folder, "others.d.ts"), OTHERS);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const flags = ["--strict", "--noEmit", "--skipLibCheck", "--target", "es2022"];
  const modules = ["--module", "esnext", "--moduleResolution", "bundler", "--types", "node"];
  const files = [
    ...["server-hono.ts", "server-bun.ts", "client.ts", "server-page.ts", "page.ts", "wake.ts"],
    ...["use-connection.ts", "connection.ts", "sidekick.ts", "sidekick-vercel.ts"],
    ...["sidekick-workers.ts", "sidekick-next.ts", "others.d.ts"],
  ];
  await run(process.execPath, [tsc, ...flags, ...modules, ...files], { cwd: folder }).catch(
    (error: { stdout: string }) => assert.fail(error.stdout),
  );
});

async function bundle(name: string): Promise<string> {
  const flags = ["--bundle", "--platform=node", "--format=esm", `--outfile=out/${name}.js`];
  await run(join(root, "node_modules/.bin/esbuild"), [`${name}.ts`, ...flags], { cwd: folder });
  return `out/${name}.js`;
}

const setups = {
  "Node with Hono": async () => ({
    sidekick: ["npx", "sidekick-serve"],
    server: [...node, "server-hono.ts"],
    client: [...(canRunClient ? node : [bun]), "client.ts"],
  }),
  Bun: async () => ({
    sidekick: ["bunx", "--bun", "sidekick-serve"],
    server: [bun, "server-bun.ts"],
    client: [bun, "client.ts"],
  }),
  Deno: async () => ({
    sidekick: [deno, "run", "-A", "npm:covenant-sidekick/sidekick-serve"],
    server: [deno, "run", "-A", await bundle("server-hono")],
    client: [deno, "run", "-A", await bundle("client")],
  }),
};
for (const [name, commands] of Object.entries(setups)) {
  test(`the app of getting-started.md runs on ${name}`, async () => {
    const { sidekick, server, client } = await commands();
    const secrets = { SIDEKICK_SECRET: "one", SIDEKICK_SERVER_SECRET: "two" };
    const url = `http://localhost:${appPort}/api/covenant`;
    const started = [
      start(folder, [...sidekick, "--port", String(sidekickPort), "--server-url", url], secrets),
      start(folder, server, { ...secrets, PORT: String(appPort) }),
    ];
    await started[0]!.until(/Press Ctrl\+C/);
    await started[1]!.until(/app server: /);
    const { stdout } = await run(client[0]!, client.slice(1), { cwd: folder });
    assert.match(stdout, /^todos \[/m);
    assert.match(stdout, /^ada: hello$/m);
    await Promise.all(started.map((process) => process.stop()));
  });
}

test("the page of client.md survives an outage", async () => {
  const flags = ["--bundle", "--format=esm", "--outfile=public/page.js"];
  await run(join(root, "node_modules/.bin/esbuild"), ["page.ts", ...flags], { cwd: folder });
  const secrets = { SIDEKICK_SECRET: "one", SIDEKICK_SERVER_SECRET: "two" };
  const url = `http://localhost:${appPort}/api/covenant`;
  const command = ["npx", "sidekick-serve", "--port", String(sidekickPort), "--server-url", url];
  const startSidekick = async () => {
    const sidekick = start(folder, command, secrets);
    await sidekick.until(/Press Ctrl\+C/);
    return sidekick;
  };
  const server = start(folder, [...node, "server-page.ts"], { ...secrets, PORT: String(appPort) });
  await server.until(/page: /);
  let sidekick = await startSidekick();
  const browser = await launchBrowser();
  try {
    const open = async () => {
      const tab = await browser.newPage();
      tab.setDefaultTimeout(120_000); // only ends a test that has failed
      await tab.goto(`http://localhost:${appPort}`);
      await tab.getByText("live", { exact: true }).waitFor();
      return tab;
    };
    const add = async (tab: Page, text: string) => {
      await tab.getByPlaceholder("New todo").fill(text);
      await tab.getByRole("button", { name: "Add" }).click();
    };
    const shows = (tab: Page, text: string) => tab.getByText(text, { exact: true }).waitFor();
    const [left, right] = [await open(), await open()];
    await add(left, "before");
    await shows(right, "before");

    await sidekick.stop();
    for (const tab of [left, right]) await tab.getByText("waiting").waitFor();
    await add(left, "during the outage");
    await shows(left, "during the outage"); // by its own mutation
    assert.equal(await right.getByText("during the outage").count(), 0);

    sidekick = await startSidekick();
    await shows(right, "during the outage");
    await shows(right, "live");
  } finally {
    await browser.close();
    await Promise.all([server.stop(), sidekick.stop()]);
  }
});

// covenant.test.ts talks to this host, too: `scripts/test package`.
test("write-a-host.md shows the host that is tested, in as many lines as it says", async () => {
  const text = await page("write-a-host.md");
  const files = ["host.ts", "main.ts"].map((name) => page(`examples/typescript/${name}`));
  for (const file of await Promise.all(files))
    assert.ok(text.includes(`\`\`\`ts\n${file}\`\`\``), `the page does not show:\n${file}`);
  const host = await files[0]!;
  const lines = host.split("\n").filter((line) => !/^\s*(\/\/.*)?$/.test(line));
  assert.match(text, new RegExp(`in ${lines.length} lines of TypeScript`));
});
