// The two sides of a comparison and their products: this tree, and a commit in a worktree of its
// own (build/against/COMMIT). The worktree is kept for the next run; an interrupted build resumes.
//
// Products are reached through interfaces that survive a move of folders: CMake presets and
// targets, the C ABI, the flags of the commands, the files of the npm package. The bench's own
// programs are compiled from this tree's sources with the commit's core, so that both sides do the
// same work.
import { execFileSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";

import { bundle } from "../../../worker/workerd/workerd.js";
import { progress, run } from "../processes.js";

export type Product =
  | "module"
  | "wasm_bench"
  | "core_bench"
  | "package"
  | "server"
  | "wasi_module"
  | "worker";

const files: Record<Product, string> = {
  module: "build/emscripten/sidekick.wasm",
  wasm_bench: "build/sidekick.bench.wasm",
  core_bench: "build/native/core_bench",
  package: "worker/dist/node/cli.js",
  server: "build/native/sidekick-server",
  wasi_module: "build/wasi/sidekick.wasm",
  worker: "build/worker.js",
};

const root = process.cwd();
const benchSources = "tests/bench";
const isBenchSource = (name: string) => /^core_.*\.[ch]pp$/.test(name);

export class Side {
  /** The reason a product is missing. */
  readonly missing = new Map<Product, string>();
  /** Remarks for the reader of the report. */
  readonly notes: string[] = [];

  constructor(
    /** In the report. */
    readonly label: "before" | "now",
    /** Abbreviated. */
    readonly commit: string,
    readonly tree: string,
    private readonly log: string,
  ) {}

  file(product: Product): string {
    return join(this.tree, files[product]);
  }

  /** Builds outdated products. A product that fails is left out, with the reason in `missing`. */
  async build(products: ReadonlySet<Product>): Promise<void> {
    rmSync(this.log, { force: true });
    for (const product of [
      "module",
      "wasm_bench",
      "wasi_module",
      "core_bench",
      "server",
      "package",
      "worker",
    ] as const) {
      if (!products.has(product)) continue;
      progress(`${this.label}: building ${product.replace("_", " ")}`);
      const reason = await this.#build(product);
      if (reason !== undefined) this.missing.set(product, reason);
      else if (!existsSync(this.file(product)))
        this.missing.set(product, `the build does not produce ${files[product]}`);
    }
  }

  async #build(product: Product): Promise<string | undefined> {
    switch (product) {
      case "module":
        return (await this.#cmake("emscripten", "sidekick")) ?? this.#ship();
      case "wasm_bench":
        return this.#withBenchSources(() => this.#cmake("emscripten", "sidekick_bench"));
      case "core_bench":
        return this.#withBenchSources(() => this.#cmake("native", "core_bench"));
      case "wasi_module":
        return (
          (await this.#cmake("wasi", "sidekick")) ??
          this.#copy(files.wasi_module, "build/sidekick.wasi.wasm")
        );
      case "server":
        // They build the page inside it.
        return (await this.#installPackages()) ?? (await this.#cmake("native", "sidekick-server"));
      case "package":
        return (
          (await this.#installPackages()) ??
          (await this.#run("node_modules/.bin/tsc", "-p", "worker"))
        );
      case "worker":
        return (
          (await this.#bundleWorker()) ??
          (this.workerModules().includes("shard.wasm")
            ? await this.#cmake("emscripten", "shard")
            : undefined)
        );
    }
  }

  /** The names of the WASM modules that the Worker imports. */
  workerModules(): string[] {
    const worker = readFileSync(this.file("worker"), "utf8");
    return [...worker.matchAll(/from "(?:\.\/)?(\w+\.wasm)"/g)].map(([, name]) => name!);
  }

  #bundleWorker(): Promise<string | undefined> {
    return bundle(join(this.tree, "worker/src/cloudflare/index.ts"), this.file("worker")).then(
      () => undefined,
      (error: Error) => error.message,
    );
  }

  async #installPackages(): Promise<string | undefined> {
    if (this.tree === root) return undefined; // scripts/setup has done it
    const mark = join(dirname(this.tree), "packages-installed");
    if (existsSync(mark)) return undefined;
    rmSync(join(this.tree, "node_modules"), { recursive: true, force: true });
    const lock = (folder: string) => readFileSync(join(folder, "package-lock.json"));
    if (lock(this.tree).equals(lock(root))) {
      progress("before: linking node_modules (the same package-lock.json)");
      execFileSync("cp", ["-al", "node_modules", this.tree]);
    } else {
      progress("before: npm ci (package-lock.json differs)");
      this.#makeCommands();
      const flags = ["--include=dev", "--ignore-scripts", "--no-fund", "--no-audit"];
      const failed = await this.#run("npm", "ci", ...flags);
      if (failed !== undefined) return failed;
    }
    writeFileSync(mark, "");
    return undefined;
  }

  /** npm 9 fails if a command of a workspace is not built yet. */
  #makeCommands(): void {
    const workspace = join(this.tree, "worker");
    const { bin } = JSON.parse(readFileSync(join(workspace, "package.json"), "utf8")) as {
      bin?: Record<string, string>;
    };
    for (const file of Object.values(bin ?? {}).map((command) => join(workspace, command))) {
      mkdirSync(dirname(file), { recursive: true });
      if (!existsSync(file)) writeFileSync(file, "");
    }
  }

  #ship(): undefined {
    mkdirSync(join(this.tree, "worker/module"), { recursive: true });
    return this.#copy(files.module, "worker/module/sidekick.wasm");
  }

  #copy(from: string, to: string): undefined {
    copyFileSync(join(this.tree, from), join(this.tree, to));
  }

  async #cmake(preset: string, target: string): Promise<string | undefined> {
    const wrapper = preset === "emscripten" ? ["emcmake"] : [];
    const isNew = !existsSync(join(this.tree, "build", preset, "build.ninja"));
    // Natively each time: libraries may have been installed since.
    const failed =
      isNew || preset === "native"
        ? await this.#run(...wrapper, "cmake", "--preset", preset)
        : undefined;
    return failed ?? (await this.#run("cmake", "--build", "--preset", preset, "--target", target));
  }

  /**
   * Copies this tree's bench programs over the commit's; uses the commit's if they do not compile.
   */
  async #withBenchSources(build: () => Promise<string | undefined>): Promise<string | undefined> {
    if (this.tree === root) return build();
    const folder = join(this.tree, benchSources);
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(benchSources).filter(isBenchSource)) {
      const [from, to] = [join(benchSources, name), join(folder, name)];
      if (!existsSync(to) || !readFileSync(from).equals(readFileSync(to))) copyFileSync(from, to);
    }
    const failed = await build();
    if (failed === undefined) return undefined;
    execFileSync("git", ["-C", this.tree, "checkout", "--", benchSources]);
    const own = await build();
    if (own !== undefined) return failed;
    const note =
      `The commit's core does not compile with ${benchSources}/core_* of this tree. ` +
      "It was measured with its own, which may do different work.";
    if (!this.notes.includes(note)) this.notes.push(note);
    return undefined;
  }

  /**
   * Runs a command in the tree with the environment of its own scripts. Returns the reason if it
   * fails.
   */
  async #run(...command: string[]): Promise<string | undefined> {
    const log = openSync(this.log, "a");
    // Each tree has its own wasmtime, unless the caller chose one.
    const { WASMTIME_PREFIX: _, BENCH_WASMTIME_PREFIX: given, ...rest } = process.env;
    const env = { ...rest, ...(given ? { WASMTIME_PREFIX: given } : {}) };
    const inTree = ["bash", "-c", 'source scripts/env.sh && exec "$@"', "bash", ...command];
    const failed = await run(inTree, { cwd: this.tree, env, stdio: ["ignore", log, log] });
    closeSync(log);
    return failed && `\`${command.join(" ")}\` failed (${failed}): see ${this.log}`;
  }
}

export function thisTree(): Side {
  const folder = "build/against";
  mkdirSync(folder, { recursive: true });
  return new Side("now", headOf(), root, resolve(folder, "now.log"));
}

export function commitOf(name: string): string {
  try {
    return git("rev-parse", "--verify", "--quiet", `${name}^{commit}`);
  } catch {
    throw new Error(`--against: expected a commit of this repository, got '${name}'`);
  }
}

/** Checks the commit out. */
export function commitSide(full: string): Side {
  const short = git("rev-parse", "--short=12", full);
  const folder = resolve("build/against", short);
  const tree = join(folder, "tree");
  const complete = join(folder, "checked-out");
  if (!existsSync(complete) || !existsSync(tree)) {
    progress(`before: checking ${short} out into build/against/${short}`);
    rmSync(folder, { recursive: true, force: true });
    git("worktree", "prune"); // drops one whose folder has been deleted
    mkdirSync(folder, { recursive: true });
    git("worktree", "add", "--quiet", "--force", "--detach", tree, full);
    writeFileSync(complete, `${full}\n`);
  }
  return new Side("before", short, tree, join(folder, "build.log"));
}

function git(...args: string[]): string {
  try {
    return execFileSync("git", args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    }).trim();
  } catch {
    throw new Error(`git ${args.join(" ")} failed, see above`);
  }
}

/** Whether files of the tree differ from its commit. */
export const isDirty = () => git("status", "--porcelain", "--untracked-files=no") !== "";
export const headOf = () => git("rev-parse", "--short=12", "HEAD");
