// The state of a hub at any line, from the recording alone: a fold over the inputs that open, close
// and restore, and the actions that store. It knows what a restart would restore: clients, tokens
// and subscriptions.
import type { Members } from "./message.js";
import { bytesText, channelTopic, membersOf, number, resourceTopic, strings } from "./message.js";
import type { Recording } from "./recording.js";

/** Never changed, only replaced. */
export interface Token {
  /** 0: free, 1: held, 2: subscribed. */
  readonly state: number;
  readonly expiresAt: number;
  readonly record: string;
  /** Of its record; undefined if that is damaged. */
  readonly topic: string | undefined;
  readonly holder: number | undefined;
}

export class Client {
  /** The record that the host has stored, with all appended lines. */
  record = "";
  session = "";
  tokens = new Set<string>();
  resources = new Set<string>();

  /** @param opened the line, from 0 */
  constructor(readonly opened: number) {}

  copy(): Client {
    const copy = new Client(this.opened);
    copy.record = this.record;
    copy.session = this.session;
    copy.tokens = new Set(this.tokens);
    copy.resources = new Set(this.resources);
    return copy;
  }
}

/** The objects as they were before an input; undefined: the object did not exist. */
export interface Before {
  readonly tokens: Map<string, Token | undefined>;
  readonly clients: Map<number, Client | undefined>;
}

export class State {
  tokens = new Map<string, Token>();
  clients = new Map<number, Client>();
  /** Collects what the current input changes, if set. */
  before: Before | undefined;

  copy(): State {
    const copy = new State();
    copy.tokens = new Map(this.tokens);
    for (const [id, client] of this.clients) copy.clients.set(id, client.copy());
    return copy;
  }

  /** The cost of a copy. */
  get size(): number {
    let size = this.tokens.size;
    for (const client of this.clients.values())
      size += 1 + client.tokens.size + client.resources.size;
    return size;
  }

  /** The topics that this client receives. */
  topicsOf(id: number): Set<string> {
    const topics = new Set<string>();
    const client = this.clients.get(id);
    if (client === undefined) return topics;
    for (const key of client.tokens) {
      const token = this.tokens.get(key);
      if (token?.state === 2 && token.topic !== undefined) topics.add(token.topic);
    }
    for (const name of client.resources) topics.add(resourceTopic(name));
    return topics;
  }

  isSubscribed(id: number, topic: string): boolean {
    const client = this.clients.get(id);
    if (client === undefined) return false;
    if (topic.startsWith("resource:")) return client.resources.has(topic.slice(9));
    for (const key of client.tokens) {
      const token = this.tokens.get(key);
      if (token?.state === 2 && token.topic === topic) return true;
    }
    return false;
  }

  /** Applies a line of the recording; most lines change nothing. */
  apply(recording: Recording, line: number): void {
    switch (recording.kind(line)) {
      case "trace":
        this.#clear();
        break;
      case "client_opened":
      case "client_closed":
      case "restore_token":
      case "restore_client":
      case "put_token":
      case "touch_token":
      case "erase_token":
      case "attach_client":
      case "close": {
        const members = recording.parse(line);
        if (members !== undefined) this.#applyMembers(members, line);
        break;
      }
      default:
        break;
    }
  }

  #applyMembers(members: Members, line: number): void {
    const id = number(members["client"]);
    const key = bytesText(members["key"]);
    const record = bytesText(members["record"]);
    const token = { state: number(members["state"]), expiresAt: number(members["expires_at"]) };
    switch (members["in"] ?? members["out"]) {
      case "client_opened":
        this.#setClient(id, new Client(line));
        break;
      case "client_closed":
      case "close":
        this.#setClient(id, undefined);
        break;
      case "restore_token":
        if (this.tokens.has(key)) break;
        this.#setToken(key, { ...token, record, topic: topicOf(record), holder: undefined });
        break;
      case "restore_client":
        this.#restoreClient(id, record, line);
        break;
      case "put_token": {
        const holder = token.state === 0 ? undefined : this.tokens.get(key)?.holder;
        this.#setToken(key, { ...token, record, topic: topicOf(record), holder });
        break;
      }
      case "touch_token": {
        const old = this.tokens.get(key);
        if (old === undefined) break;
        this.#setToken(key, { ...old, ...token });
        if (token.state === 0) this.#release(key);
        break;
      }
      case "erase_token":
        this.#release(key);
        this.#setToken(key, undefined);
        break;
      case "attach_client":
        this.#attach(id, members["append"] === 1, record);
        break;
    }
  }

  #restoreClient(id: number, record: string, line: number): void {
    const client = new Client(line);
    this.#setClient(id, client);
    client.record = record;
    for (const part of record.split("\n")) this.#applyRecord(id, client, part, true);
  }

  #attach(id: number, isAppended: boolean, record: string): void {
    const client = this.#clientToChange(id);
    if (client === undefined) return;
    if (!isAppended) {
      for (const key of [...client.tokens]) this.#release(key);
      client.resources.clear();
      client.record = "";
    }
    client.record += record;
    for (const part of record.split("\n")) this.#applyRecord(id, client, part, false);
  }

  #applyRecord(id: number, client: Client, part: string, isRestored: boolean): void {
    const members = part === "" ? undefined : membersOf(part);
    if (members === undefined) return;
    if (typeof members["session"] === "string") client.session = members["session"];
    for (const key of strings(members["tokens"])) {
      const token = this.tokens.get(key);
      // A restored client has only what nobody else has taken meanwhile.
      if (isRestored && (token === undefined || token.state === 0 || token.holder !== undefined))
        continue;
      this.#release(key);
      client.tokens.add(key);
      const held = this.tokens.get(key);
      if (held !== undefined) this.#setToken(key, { ...held, holder: id });
    }
    for (const key of strings(members["tokens_gone"])) {
      if (client.tokens.has(key)) this.#release(key);
    }
    for (const name of strings(members["resources"])) client.resources.add(name);
    for (const name of strings(members["resources_gone"])) client.resources.delete(name);
  }

  /** No client holds the token any more. */
  #release(key: string): void {
    const token = this.tokens.get(key);
    if (token?.holder === undefined) return;
    this.#clientToChange(token.holder)?.tokens.delete(key);
    this.#setToken(key, { ...token, holder: undefined });
  }

  #clientToChange(id: number): Client | undefined {
    const client = this.clients.get(id);
    if (this.before !== undefined && !this.before.clients.has(id))
      this.before.clients.set(id, client?.copy());
    return client;
  }

  #setClient(id: number, client: Client | undefined): void {
    const old = this.#clientToChange(id);
    for (const key of [...(old?.tokens ?? [])]) this.#release(key);
    if (client === undefined) this.clients.delete(id);
    else this.clients.set(id, client);
  }

  #setToken(key: string, token: Token | undefined): void {
    if (this.before !== undefined && !this.before.tokens.has(key))
      this.before.tokens.set(key, this.tokens.get(key));
    if (token === undefined) this.tokens.delete(key);
    else this.tokens.set(key, token);
  }

  #clear(): void {
    for (const key of [...this.tokens.keys()]) this.#setToken(key, undefined);
    for (const id of [...this.clients.keys()]) {
      this.#clientToChange(id);
      this.clients.delete(id);
    }
  }
}

function topicOf(record: string): string | undefined {
  const members = membersOf(record);
  return channelTopic(members?.["channel"], members?.["params"]);
}

const CHECKPOINT_INPUTS = 4096;

/**
 * States at any line of a growing recording. A checkpoint follows after 4,096 inputs, but not
 * before as many as a copy costs, so that all copies together cost no more than the recording.
 */
export class Fold {
  readonly #recording: Recording;
  readonly #checkpoints: { readonly groups: number; readonly state: State }[] = [
    { groups: 0, state: new State() },
  ];
  readonly #end = new State();
  #groups = 0; // applied to #end
  #nextCheckpoint = CHECKPOINT_INPUTS;
  /** The state that was asked for last: the next input is often asked for next. */
  #latest = { groups: 0, state: new State() };

  constructor(recording: Recording) {
    this.#recording = recording;
  }

  /** Applies what has arrived; the last group of a live recording may still grow. */
  advance(isComplete: boolean, groupsMax = Number.POSITIVE_INFINITY): boolean {
    const until = this.#recording.groupCount - (isComplete ? 0 : 1);
    const stop = Math.min(until, this.#groups + groupsMax);
    for (; this.#groups < stop; this.#groups++) {
      if (this.#groups === this.#nextCheckpoint) {
        this.#checkpoints.push({ groups: this.#groups, state: this.#end.copy() });
        this.#nextCheckpoint = this.#groups + Math.max(CHECKPOINT_INPUTS, this.#end.size);
      }
      applyGroup(this.#end, this.#recording, this.#groups);
    }
    return this.#groups < until;
  }

  /**
   * In which group before this one each client began to receive one of the topics that it receives
   * still. Goes back from checkpoint to checkpoint, and yields now and then.
   */
  *receiving(
    group: number,
    topics: readonly string[],
    clients: readonly number[],
  ): Generator<undefined, Map<number, number>, undefined> {
    const found = new Map<number, number>();
    let missing = clients;
    let until = group;
    for (let index = this.#checkpoints.length - 1; index >= 0 && missing.length > 0; index--) {
      const { groups, state: start } = this.#checkpoints[index]!;
      if (groups >= until) continue;
      const state = start.copy();
      const receives = (id: number): boolean =>
        topics.some((topic) => state.isSubscribed(id, topic));
      const before = new Set(missing.filter(receives));
      let receiving = before;
      for (let at = groups; at < until; at++) {
        if (at % 256 === 0) yield undefined;
        applyGroup(state, this.#recording, at);
        const now = new Set(missing.filter(receives));
        for (const id of now) if (!receiving.has(id)) found.set(id, at);
        for (const id of receiving) if (!now.has(id)) found.delete(id);
        receiving = now;
      }
      missing = missing.filter((id) => before.has(id) && !found.has(id));
      until = groups;
    }
    return found;
  }

  /** The state after this group, until the next call, and what it has changed. */
  after(group: number): { readonly state: State; readonly before: Before } {
    let index = this.#checkpoints.length - 1;
    while (index > 0 && this.#checkpoints[index]!.groups > group) index--;
    const checkpoint = this.#checkpoints[index]!;
    const isNear = this.#latest.groups >= checkpoint.groups && this.#latest.groups <= group;
    const { groups } = isNear ? this.#latest : checkpoint;
    const state = isNear ? this.#latest.state : checkpoint.state.copy();
    for (let at = groups; at < group; at++) applyGroup(state, this.#recording, at);
    // The last input may still get actions.
    const isLast = group + 1 === this.#recording.groupCount;
    this.#latest = isLast ? { groups: group, state: state.copy() } : { groups: group + 1, state };
    const before = { tokens: new Map(), clients: new Map() };
    state.before = before;
    applyGroup(state, this.#recording, group);
    state.before = undefined;
    return { state, before };
  }
}

export function applyGroup(state: State, recording: Recording, group: number): void {
  const end = recording.endLine(group);
  for (let line = recording.firstLine(group); line < end; line++) state.apply(recording, line);
}
