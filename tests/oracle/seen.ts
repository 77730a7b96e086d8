// The observable result of one step, normalized so that equal texts mean the same to the receiver.
// Members of messages and params are sorted, since their order has no meaning; data and context are
// printed as they were read.
import ION from "@covenant-rpc/ion";

import { asWePrint } from "../ion/differences.ts";
import { ionOf } from "./reading.ts";

/**
 * The result of one step: per client its messages in order, the app server's requests in order, and
 * the answer to a POST.
 */
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

/** A message or a forward as received from the wire. */
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
