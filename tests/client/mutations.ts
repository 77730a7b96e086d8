// Bugs in the client, at least one for each guarantee. A directed case (guarantees.test.ts) or the
// simulation must catch each.

export interface Mutation {
  readonly bug: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The mode of the simulation that catches it. Undefined: a directed case does. */
  readonly mode?: string;
}

export const mutations: Readonly<Record<string, readonly Mutation[]>> = {
  G1: [
    {
      bug: "a late event of an abandoned socket ends the next one",
      file: "connection.ts",
      from: "socket.onopen = socket.onmessage = socket.onclose = null;",
      to: "",
    },
    {
      bug: "calling wake() again and again extends the timeout",
      file: "heartbeat.ts",
      from: "if (this.#due <= now.steady + ms) return;",
      to: "",
    },
    {
      bug: "a Sidekick whose engine is away counts as legacy",
      file: "client.ts",
      from: "if (code) return",
      to: "if (!error === !code) return",
    },
    {
      bug: "a live socket resets the backoff at once",
      file: "connection.ts",
      from: ">= this.options.stableMs",
      to: ">= 0",
    },
  ],
  G2: [
    {
      bug: "a first listen asks for changes since it was sent, not since its query began",
      file: "registers.ts",
      from: "server?.began.get(names) ?? moment(options.queryMs)",
      to: "(server && options && moment())!",
    },
    {
      bug: "one position for the whole connection",
      file: "client.ts",
      from: "if (item.due === 0) item.at",
      to: "item.at",
    },
    {
      bug: "positions are 20 s too new",
      file: "hub-clock.ts",
      from: "- OUTPUT_GATE_MS;",
      to: "+ 10 * OUTPUT_GATE_MS;",
    },
    {
      bug: "positions survive a new epoch",
      file: "client.ts",
      from: "for (const item of this.#items()) item.at = 0;",
      to: "{}",
    },
    {
      bug: "a position goes back with a pong",
      file: "client.ts",
      from: "Math.max(item.at, position)",
      to: "position",
    },
    {
      bug: "a constant pong counts for the latest ping",
      file: "hub-clock.ts",
      from: "this.#pings.shift()",
      to: "this.#pings.pop()",
    },
    {
      bug: "a pong that proves no delivery moves positions",
      file: "hub-clock.ts",
      from: "welcome.pong_at !== false",
      to: "true",
    },
    {
      bug: "a query older than the listen is not told of what it missed",
      file: "registers.ts",
      from: "!known || isBefore(from, known.from)",
      to: "!known",
    },
    {
      bug: "a change while a query ran is not told to its listener",
      file: "registers.ts",
      from: "!isBefore(known.heard, from)",
      to: "false",
    },
    {
      bug: "changes during an outage are not told",
      file: "registers.ts",
      from: "if (!recovered || changed?.includes(name))",
      to: "if (!recovered)",
      mode: "capable",
    },
    {
      bug: "a legacy Sidekick is believed to have recovered",
      file: "registers.ts",
      from: "if (!recovered || changed?.includes(name))",
      to: "if (recovered === false || changed?.includes(name))",
      mode: "legacy",
    },
  ],
  G3: [
    {
      bug: "each update starts a run",
      file: "queries.ts",
      from: "if (!flight.isCaused || flight.running.size === 0)",
      to: "if (flight.isCaused || flight.running.size === 0)",
    },
    {
      bug: "each resource of a publish causes a run",
      file: "refetch.ts",
      from: "setTimeout(() => this.#tell(), GATHER_MS)",
      to: "void this.#tell()",
    },
  ],
  G4: [
    {
      bug: "identical queries run side by side",
      file: "queries.ts",
      from: "within(Promise.allSettled(flight.running), this.#refetchMs)",
      to: "Promise.resolve()",
      mode: "legacy",
    },
  ],
  G5: [
    {
      bug: "gaps are not told",
      file: "channels.ts",
      from: 'if (isGap) this.#parts.tell("gap", {',
      to: 'if (!isGap === isGap) this.#parts.tell("gap", {',
    },
    {
      bug: "a loss without a request is not told",
      file: "client.ts",
      from: "frame.recovered === false",
      to: "frame.recovered === null",
    },
    {
      bug: "after a loss, the stamps of the engine that took over count as old",
      file: "channels.ts",
      from: "if (!recovered) register.last = 0;",
      to: "",
    },
    {
      bug: "messages that are missed and live come twice",
      file: "channels.ts",
      from: "const isNew = at === 0 || ",
      to: "const isNew = true || ",
    },
    {
      bug: "a channel is live before its missed messages",
      file: "channels.ts",
      from: "topic: topicOf(channel, params), due: missed",
      to: "topic: topicOf(channel, params), due: missed * 0",
    },
    {
      bug: "messages come before the channel is confirmed on this socket",
      file: "channels.ts",
      from: "topic === name && due !== undefined",
      to: "topic === name && due !== null",
    },
  ],
  G6: [
    {
      bug: "repeats are not marked",
      file: "sends.ts",
      from: "send.writes++ > 0 && { again: true }",
      to: "send.writes++ > 0 && {}",
    },
    {
      bug: "a rejected repeat counts as unprocessed",
      file: "sends.ts",
      from: "!isFinal && (isAnswer || isRepeat)",
      to: "!isFinal && isAnswer && isRepeat !== undefined",
    },
    {
      bug: "a message that broke the Sidekick is repeated",
      file: "sends.ts",
      from: "code === TOO_BIG || code === INTERNAL_ERROR",
      to: "code === TOO_BIG - INTERNAL_ERROR",
    },
    {
      bug: "a written message is written again with a new token",
      file: "channels.ts",
      from: 'sends.fail("its token was lost", token);',
      to: "",
    },
    {
      bug: "a token that is told as lost stays in use",
      file: "client.ts",
      from: 'frame.code === "token" ||',
      to: "",
    },
    {
      bug: "a token that is told as lost twice is replaced twice",
      file: "channels.ts",
      from: "register.due = undefined;",
      to: "",
    },
    {
      bug: "a send resolves when it is written",
      file: "sends.ts",
      from: "if (requests.isCapable) this.#watchAnswers();",
      to: "if (!requests) this.#watchAnswers();",
    },
  ],
  G7: [
    {
      bug: "an unwritten send never expires",
      file: "sends.ts",
      from: "setTimeout(expire, options.sendTtlMs)",
      to: "setTimeout(() => expire.name, options.sendTtlMs)",
    },
    {
      bug: "there is no limit",
      file: "sends.ts",
      from: "this.#sends.size >= options.sendMax ||",
      to: "",
    },
  ],
  G8: [
    {
      bug: "sends do not wait for their channel",
      file: "sends.ts",
      from: "(channel && channel.due === undefined)",
      to: "false",
    },
  ],
  G9: [
    {
      bug: "each socket has a session of its own",
      file: "requests.ts",
      from: "this.#session ??= random128();",
      to: "this.#session = random128();",
    },
    {
      bug: "a busy socket is not pinged, so positions grow old",
      file: "heartbeat.ts",
      from: "pingMs - since(this.#asked)",
      to: "pingMs - since(this.#heard)",
    },
    {
      bug: "a reply without missed messages leaves the position as it was",
      file: "channels.ts",
      from: "if (missed === 0) register.at = at;",
      to: "if (!recovered) register.at = at;",
    },
  ],
  G10: [
    {
      bug: "any error rejects a send",
      file: "sends.ts",
      from: "const send = this.#sends.get(id);",
      to: 'const send = this.#sends.get(id) ?? (type === "error" ? this.#all()[0] : undefined);',
    },
  ],
  G11: [
    {
      bug: "entries are never freed",
      file: "channels.ts",
      from: "this.items.delete(token);\n    if (this.#unsubscribes",
      to: "if (this.#unsubscribes",
    },
    {
      bug: "what an engine that is away refuses is forgotten",
      file: "requests.ts",
      from: "(rate|full|queue|engine)",
      to: "(rate|full)",
    },
    {
      bug: "unlisten names resources that are not listened to",
      file: "registers.ts",
      from: "names.filter((name) => this.items.delete(name))",
      to: "names.filter((name) => [this.items.delete(name)])",
    },
  ],
  G12: [
    {
      bug: "a legacy Sidekick gets ids",
      file: "requests.ts",
      from: "this.isCapable ? { type, id, ...rest } : { type, ...rest }",
      to: "{ type, id, ...rest }",
    },
  ],
};
