// The client under test: the real one, or the mutation of it that SIDEKICK_CLIENT names.
import type * as real from "../../../worker/src/client/index.ts";

const path = process.env["SIDEKICK_CLIENT"] ?? "../../../worker/src/client/index.ts";
export const { connectSidekick, withAcks } = (await import(path)) as typeof real;
