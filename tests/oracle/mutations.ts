// Bugs injected between our module and everything else, to show that the oracle detects them. A bug
// strikes rarely, so that it takes a search to find it.
import type { Deliver, Sent } from "./ours.ts";

/** One message in this many. */
const rarity = 20;

/**
 * A bug that sometimes applies `strike` to a message; `last` is the previous message, of any step.
 */
function nowAndThen(
  strike: (message: Sent, last: Sent | undefined) => readonly Sent[],
): () => Deliver {
  return () => {
    let count = 0;
    let last: Sent | undefined;
    return (messages) =>
      messages.flatMap((message) => {
        const result = ++count % rarity === 0 ? strike(message, last) : [message];
        last = message;
        return result;
      });
  };
}

function replaced(message: Sent, from: RegExp, to: string): Sent {
  return {
    to: message.to,
    bytes: Buffer.from(Buffer.from(message.bytes).toString().replace(from, to)),
  };
}

/** Each function creates the bug for one conversation. */
export const mutations: Readonly<Record<string, () => Deliver>> = {
  "drops a message": nowAndThen(() => []),
  "doubles a message": nowAndThen((message) => [message, message]),
  "sends a message to another receiver": nowAndThen((message, last) => [
    { ...message, to: last?.to ?? message.to },
  ]),
  "names the wrong fault": nowAndThen((message) => [
    replaced(message, /"fault": "client"/, '"fault": "server"'),
  ]),
  "corrupts a value that it relays": () => (messages) =>
    messages.map((message) => replaced(message, /"data": (true|null)/, '"data": false')),
  "loses a forward": () => (messages) =>
    messages.filter(
      ({ to, bytes }) => to !== "app server" || !Buffer.from(bytes).includes('"data": null'),
    ),
  "mixes up contexts": () => {
    let last: string | undefined;
    return (messages) =>
      messages.map((message) => {
        if (message.to !== "app server") return message;
        const own = /"context": (true|false|null|-?\d+) }$/.exec(
          Buffer.from(message.bytes).toString(),
        )?.[1];
        const other =
          own === undefined || last === undefined
            ? message
            : replaced(message, /"context": [^ ]+ }$/, `"context": ${last} }`);
        last = own ?? last;
        return other;
      });
  },
  "swaps two messages of one step": () => (messages) => [...messages].reverse(),
  "delivers in the next step": () => {
    let late: readonly Sent[] = [];
    let count = 0;
    return (messages) => {
      const now = [...late, ...messages];
      late = messages.length > 0 && ++count % rarity === 0 ? now.splice(-1) : [];
      return now;
    };
  },
};
