// The list of intended differences between the reference Sidekick (`@covenant-rpc/server` 2.3) and
// ours, each with its reason. Nothing else may differ. The oracle's reference (reference.ts) is
// npm's code. Where an entry in `allowed` applies, and only there, the reference is corrected to
// what the entry says. So an entry is exact: with it the two sides are equal, without it they are
// not (oracle.test.ts shows both, for each).

export const differences = {
  // Input.
  strictIon:
    "what docs/ion.md lists as refused by us (numbers, escapes, dates, depth) is a malformed message",
  resourcesIon:
    "POST /resources takes ION, not JSON alone; what JSON alone reads (a member __proto__) is refused there, too",
  memberOnce:
    "a member or a param that stands twice is refused: readers disagree about which of them counts",
  paramsAreAnObject:
    "params that are an array, a map, a set or a date are refused; the reference reads the array as an object, the others as {}",
  limits: "names over their limit are refused; the reference has no limits",
  tokenText: "a token that is empty, or holds half a surrogate pair, is refused",
  ping: "a ping is answered; to the reference it is a malformed message",

  // Output.
  wording: "errors are worded to be understood: what was expected, what came, where",
  unknownChannel:
    '"unknown" is what an error names without a channel, everywhere; the reference has "???unknown", too',
  namesChannel:
    "an error names the channel and params of a malformed message, where they can be read",
  byteForByte:
    "data and context pass as they came; the reference's printer loses half surrogate pairs and breaks maps whose keys are dates",
  ownMembers:
    "only channel, params and data of a POST /message reach the clients; the reference passes on all members, and lets them override the type",
  updatedOnce: "a resource named twice in one update is told once",

  // Tokens.
  sendTakes:
    "a token is held from its first send on; to the reference any number of clients may send with it until one subscribes",
  subscribeAgain: "subscribing again with one's own token is confirmed again",
  unsubscribeUnused: "a token can be given up before it has been subscribed with",
  heldStays:
    "a token in use is not registered again (409); the reference swaps its context and channel",
  tokenResume:
    "a token is free again when its client has closed; the reference keeps it for a client that never comes back",
  tokenExpiry: "a free token expires",
  scope: "a send must name the channel and the params of its token",
  ownContext: "each token has its own context; the reference has one for each client and topic",
  lastTokenEnds: "delivery goes on until the last token of a client for a topic is gone",
  topicNames: "topics do not depend on the order of params, and no two channels share one",

  // Forwards.
  oneInFlight: "messages of one token reach the app server one after the other",
  forwardTimeout: "a forward that is not answered is given up, and its sender is told",
  unreachable:
    "an app server that cannot be reached is an error for the sender; it ends the reference's process",
  ownWords:
    'the app server\'s { fault, message } is relayed; the reference says "Failed to send message to server"',
} as const;

export type Difference = keyof typeof differences;

export const all = Object.keys(differences) as Difference[];
