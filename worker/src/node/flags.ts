// The command line of every command of this package.
import { parseArgs } from "node:util";

type Config = NonNullable<Parameters<typeof parseArgs>[0]>;

/** The command line or the configuration is invalid: exit status 2. */
export class UsageError extends Error {}

/** @throws UsageError */
export function parseFlags<T extends Config>(config: T): ReturnType<typeof parseArgs<T>> {
  const { tokens } = parseArgs({ ...config, strict: false, tokens: true });
  for (const token of tokens ?? []) {
    if (token.kind !== "option" || config.options?.[token.name]?.type !== "string") continue;
    // Never the next option: `--secret --server-url` has forgotten the secret.
    if (token.value === undefined || (!token.inlineValue && /^-./.test(token.value)))
      throw new UsageError(
        `--${token.name}: expected a value; one that begins with a dash is written ` +
          `--${token.name}=VALUE`,
      );
  }
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/**
 * The value of SIDEKICK_PORT, if it is meant for us: for a Service of this name, Kubernetes sets
 * the variable in every container by itself.
 */
export function readPortVariable(
  warn: (message: string, fields: { value: string }) => void,
): string | undefined {
  const value = process.env["SIDEKICK_PORT"] || undefined;
  if (!value?.startsWith("tcp://")) return value;
  warn(
    "ignored SIDEKICK_PORT: Kubernetes sets it for a Service of this name " +
      "(enableServiceLinks: false turns that off); choose a port with --port",
    { value },
  );
  return undefined;
}

export function integer(name: string, value: string, lowest: number, highest: number): number {
  if (/^\d{1,9}$/.test(value) && Number(value) >= lowest && Number(value) <= highest)
    return Number(value);
  throw new UsageError(
    `${name}: expected a whole number from ${lowest} to ${highest}, got ${JSON.stringify(value)}`,
  );
}
