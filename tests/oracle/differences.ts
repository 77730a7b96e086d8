// The list of intended differences between the reference Sidekick (`@covenant-rpc/server` 2.3) and
// ours, each with its reason. Nothing else may differ. The oracle's reference (reference.ts) is
// npm's code. Where an entry in `allowed` applies, and only there, the reference is corrected to
// what the entry says. So an entry is exact: with it the two sides are equal, without it they are
// not (oracle.test.ts shows both, for each).

export const differences = {
  // Input.
  strictIon:
    "a message with ION that only the reference accepts (docs/ion.md: numbers, escapes, dates, depth) is malformed",
  resourcesIon:
    "POST /resources accepts ION, not only JSON; it rejects what only JSON accepts (a member __proto__)",
  memberOnce: "a duplicate member or param is rejected: readers disagree about which one counts",
  paramsAreAnObject:
    "params that are an array, map, set or date are rejected; the reference reads an array as an object, the others as {}",
  limits: "names over their limit are rejected; the reference has no limits",
  tokenText: "an empty token, or one with a lone surrogate, is rejected",
  ping: "a ping is answered; the reference treats it as malformed",

  // Output.
  wording: "errors say what was expected, what came and where",
  unknownChannel:
    'an error without a channel names "unknown" everywhere; the reference sometimes names "???unknown"',
  namesChannel: "an error names the channel and params of a malformed message if they can be read",
  byteForByte:
    "data and context are relayed unchanged; the reference's printer loses lone surrogates and breaks maps whose keys are dates",
  ownMembers:
    "only channel, params and data of a POST /message reach the clients; the reference relays all members and lets them override the type",
  updatedOnce: "a resource named twice in one update is sent once",

  // Tokens.
  sendTakes:
    "the first send takes a token; in the reference any number of clients may send with it until one subscribes",
  subscribeAgain: "a repeated subscribe with one's own token is confirmed again",
  unsubscribeUnused: "a token can be erased before it was used to subscribe",
  heldStays:
    "a held token cannot be registered again (409); the reference swaps its context and channel",
  tokenResume:
    "a token is free again after its client closed; the reference keeps it for a client that never comes back",
  tokenExpiry: "a free token expires",
  scope: "a send must name the channel and params of its token",
  ownContext: "each token has its own context; the reference has one per client and topic",
  lastTokenEnds: "delivery continues until the last token of a client for a topic is gone",
  topicNames: "topics do not depend on the order of params, and no two channels share one",

  // Forwards.
  oneInFlight: "messages of one token reach the app server one at a time",
  forwardTimeout: "a forward without an answer times out, and its sender gets an error",
  unreachable:
    "an unreachable app server is an error for the sender; it ends the reference's process",
  ownWords:
    'the app server\'s { fault, message } is relayed; the reference says "Failed to send message to server"',
} as const;

export type Difference = keyof typeof differences;

export const all = Object.keys(differences) as Difference[];
