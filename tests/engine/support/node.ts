// A Sidekick that shares an engine, as a process: sidekick-serve, or what SIDEKICK_COMMAND says.
import { type Run, run } from "../../hosts/shared/support/run.ts";
import { SECRET } from "../../hosts/shared/support/sidekick.ts";

const FLAGS = ["--port", "0", "--host", "127.0.0.1", "--secret", SECRET, "--auth-delay", "0"];

/** On a free port of 127.0.0.1, unless the flags say otherwise. */
export function runNode(flags: readonly string[], env: Record<string, string> = {}): Run {
  return run([...FLAGS, ...flags], env);
}

/** Waits until the engine is up. */
export async function startNode(
  flags: readonly string[],
  env: Record<string, string> = {},
): Promise<Run & { readonly listening: number }> {
  const node = runNode(flags, env);
  const listening = await node.port();
  await node.says(/info {2}the engine is up/);
  return { ...node, listening };
}
