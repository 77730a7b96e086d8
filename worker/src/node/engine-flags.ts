// The flags and variables of the engine. sidekick-server has the same, with the same errors.
import { readFileSync } from "node:fs";
import { parseEngineUrl } from "../engine/engine-url.js";
import { checkAuthorities, checkPrefix, type EngineOptions } from "../engine/options.js";
import { UsageError } from "./flags.js";

export const ENGINE_FLAGS = {
  engine: { type: "string" },
  "engine-ca": { type: "string" },
  "engine-prefix": { type: "string" },
} as const;

interface Flags {
  readonly engine?: string | undefined;
  readonly "engine-ca"?: string | undefined;
  readonly "engine-prefix"?: string | undefined;
}

/**
 * @param env the value of a variable, unless it is empty
 * @returns undefined: no engine
 * @throws UsageError, ConfigError
 */
export function readEngineFlags(
  flags: Flags,
  env: (name: string) => string | undefined,
): { readonly options: EngineOptions; readonly shown: string } | undefined {
  const url = flags.engine ?? env("SIDEKICK_ENGINE");
  if (url === undefined) {
    for (const flag of ["engine-ca", "engine-prefix"] as const)
      if (flags[flag] !== undefined) throw new UsageError(`--${flag} requires --engine`);
    return undefined;
  }
  const { isTls, shown } = checkUrl(url, flags.engine !== undefined);
  const prefix = flags["engine-prefix"] ?? env("SIDEKICK_ENGINE_PREFIX");
  if (prefix !== undefined) checkPrefix("--engine-prefix (SIDEKICK_ENGINE_PREFIX)", prefix);
  if (flags["engine-ca"] !== undefined && !isTls)
    throw new UsageError("--engine-ca requires an engine with rediss://");
  const caFile = flags["engine-ca"] ?? env("SIDEKICK_ENGINE_CA");
  const ca = caFile === undefined || !isTls ? undefined : readAuthorities(caFile);
  return {
    options: { url, ...(ca !== undefined && { ca }), ...(prefix !== undefined && { prefix }) },
    shown,
  };
}

function checkUrl(text: string, isFlag: boolean) {
  const name = isFlag ? "--engine" : "SIDEKICK_ENGINE";
  if (text === "wasmtime" || text === "native")
    throw new UsageError(
      `${name}: expected the URL of a Redis server, got "${text}"; ` +
        `use ${isFlag ? "--runtime" : "SIDEKICK_RUNTIME"} to choose the runtime`,
    );
  const url = parseEngineUrl(name, text);
  if (isFlag && url.password !== "")
    throw new UsageError(
      "--engine: a password here can be read by every user of this machine; set the variable " +
        "SIDEKICK_ENGINE instead",
    );
  return url;
}

function readAuthorities(file: string): string {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(
      `--engine-ca ${file}: expected PEM certificates: ${(error as Error).message}`,
    );
  }
  checkAuthorities(`--engine-ca ${file}`, pem);
  return pem;
}
