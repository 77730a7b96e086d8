#!/usr/bin/env node
// The command `covenant-sidekick-replay`: replays a trace with a fresh hub and shows the first line
// that differs.
import { createReadStream, readFileSync, statSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { printable } from "../module/printable.js";
import type { Difference } from "../module/replay.js";
import { gapText, Replayer } from "../module/replay.js";
import { readDefaultBytes, readDefaultModule, readModule } from "./default-module.js";
import { parseFlags } from "./flags.js";
import { inspectorPage } from "./inspector-page.js";
import { Progress } from "./progress.js";

const HELP = `Usage: covenant-sidekick-replay TRACE... [--module FILE]
       covenant-sidekick-replay --html [TRACE] [--module FILE] >report.html

Replays traces recorded with sidekick-serve --record and compares every action byte for byte. A
truncated recording is replayed up to its end.

  --html         print the inspector, a page that shows the trace and can replay it. It contains
                 the trace and loads nothing; without TRACE it opens files
  --module FILE  the WebAssembly module to replay on (default: the module of this package)
  -h, --help     this text

Exit status: 0 all equal, 1 difference, 2 usage or input error.
`;

// By itself, Node would open a debugger, for every user of the machine.
process.on("SIGUSR1", () => {});

try {
  process.exitCode = await main();
} catch (error) {
  console.error(
    `covenant-sidekick-replay: ${error instanceof Error ? error.message : String(error)}`,
  );
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const { values, positionals } = parseFlags({
    options: {
      html: { type: "boolean" },
      module: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.html === true) return print(positionals, values.module);
  if (positionals.length === 0) throw new Error("expected a trace file; try --help");
  const module = values.module === undefined ? readDefaultModule() : readModule(values.module);
  let status = 0;
  const progress = new Progress("replay", "at the end");
  for (const path of positionals) {
    const replayed = await replay(path, new Replayer(module), progress).catch((error: unknown) => {
      throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    });
    status = Math.max(status, replayed);
  }
  return status;
}

async function print(paths: readonly string[], moduleFile: string | undefined): Promise<number> {
  const [path, second] = paths;
  if (second !== undefined)
    throw new Error(`--html: expected one trace file, got a second one: ${second}`);
  const module = moduleFile === undefined ? readDefaultBytes().bytes : readFileSync(moduleFile);
  const progress = new Progress("html", "stdout");
  const recording =
    path === undefined
      ? {}
      : { recording: { name: path, bytes: Readable.from(bytesOf(path, progress)) } };
  const page = Readable.from(inspectorPage({ module, ...recording }));
  await pipeline(page, process.stdout, { end: false });
  return 0;
}

async function replay(path: string, replayer: Replayer, progress: Progress): Promise<number> {
  for await (const { line, isLast } of linesOf(bytesOf(path, progress))) {
    const difference = isLast ? replayer.end(line) : replayer.line(line);
    if (difference === undefined) continue;
    progress.erase();
    return show(path, difference);
  }
  console.log(`${path}: ${replayer.inputs} inputs replayed, all actions equal`);
  if (replayer.changedTexts > 0)
    console.log(`${path}: changed since format 1: the wording of ${replayer.changedTexts} errors`);
  for (const { line, lines } of replayer.gaps) console.log(`${path}:${line}: ${gapText(lines)}`);
  for (const { line, linesDue } of replayer.cuts) {
    console.log(
      `${path}:${line}: the recording was cut off here; ${linesDue} more lines are due for ` +
        "its last input",
    );
  }
  return 0;
}

function show(path: string, difference: Difference): number {
  console.error(`${path}:${difference.line}: the replay differs`);
  console.error(`  trace:  ${printable(difference.expected ?? "(nothing more for this input)")}`);
  console.error(`  replay: ${printable(difference.actual ?? "(nothing more for this input)")}`);
  return 1;
}

async function* bytesOf(path: string, progress: Progress): AsyncGenerator<Buffer> {
  const about = statSync(path, { throwIfNoEntry: false });
  progress.openFile(about?.isFile() === true ? about.size : 0);
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      progress.onRead(chunk);
      yield chunk;
    }
  } finally {
    progress.erase();
  }
}

/**
 * The lines of a file without their newlines; the last one is the text after the last newline. A
 * trace may be larger than the longest possible string.
 */
async function* linesOf(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<{ readonly line: Buffer; readonly isLast: boolean }> {
  let rest: Buffer[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield { line: Buffer.concat([...rest, chunk.subarray(start, end)]), isLast: false };
      rest = [];
      start = end + 1;
    }
    if (start < chunk.byteLength) rest.push(chunk.subarray(start));
  }
  yield { line: Buffer.concat(rest), isLast: true };
}
