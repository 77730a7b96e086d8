// What is seen of a Sidekick after one step, written so that equal texts mean the same to whoever receives it.
// Members of messages and params are sorted, for their order says nothing; data and context are printed as they were read.
import ION from "@covenant-rpc/ion";

import { asWePrint } from "../ion/differences.ts";
import { ionOf } from "./reading.ts";

/** What one step brought: per client its messages in order, what the app server got in order, and how a POST was answered. */
export class Seen {
  readonly #lines = new Map<string, string[]>();

  to(receiver: string, what: string): void {
    const lines = this.#lines.get(receiver);
    if (lines === undefined) this.#lines.set(receiver, [what]);
    else lines.push(what);
  }

  text(): string {
    return [...this.#lines]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([receiver, lines]) => lines.map((line) => `${receiver} <- ${line}\n`).join(""))
      .join("");
  }
}

/** A message or a forward as it came over the wire. */
export function readable(
  bytes: Uint8Array,
  wording: (text: string) => string = (text) => text,
): string {
  const read = ionOf(Buffer.from(bytes).toString());
  return "value" in read
    ? members(read.value, wording)
    : `NOT READABLE (${String(read.error)}): ${Buffer.from(bytes).toString("latin1")}`;
}

function members(value: unknown, wording: (text: string) => string): string {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return asWePrint(ION.stringify(value));
  const print = ([name, member]: [string, unknown]): string => {
    if (name === "error" || name === "params") return `${name} ${members(member, wording)}`;
    if (name === "message" && typeof member === "string")
      return `message ${JSON.stringify(wording(member))}`;
    return `${name} ${asWePrint(ION.stringify(member))}`;
  };
  return `{ ${Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(print)
    .join(", ")} }`;
}
