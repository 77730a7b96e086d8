// A Sidekick that shares an engine, as a process: sidekick-serve, or what SIDEKICK_COMMAND says.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "../../hosts/shared/support/left-open.ts";
import { type Run, run } from "../../hosts/shared/support/run.ts";
import { SECRET } from "../../hosts/shared/support/sidekick.ts";

const FLAGS = ["--port", "0", "--host", "127.0.0.1", "--secret", SECRET, "--auth-delay", "0"];

export interface EngineNode extends Run {
  readonly listening: number;
  /** Waits until the log has said so often that the engine is up. */
  isUp(times: number): Promise<void>;
  isDown(): Promise<void>;
}

/** On a free port of 127.0.0.1, unless the flags say otherwise. The engine is up. */
export async function startNode(
  flags: readonly string[],
  env: Record<string, string> = {},
): Promise<EngineNode> {
  const node = run([...FLAGS, ...flags], env);
  atEnd(() => {
    node.kill("SIGKILL");
    return node.exit;
  });
  const isUp = (times: number) => node.says(new RegExp(`(the engine is up[^]*){${times}}`));
  const isDown = () => node.says(/the engine is (down|unavailable)/);
  const listening = await node.port();
  await isUp(1);
  return { ...node, listening, isUp, isDown };
}

/** The path of a file that is gone at the end of the test. */
export function fileForTest(name: string, text?: string): string {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-"));
  atEnd(() => rmSync(folder, { recursive: true }));
  if (text !== undefined) writeFileSync(join(folder, name), text);
  return join(folder, name);
}
