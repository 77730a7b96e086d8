// The contents of the side panel: a line in full with its links, and the state after an input.
import type { Before, State, Token } from "./fold.js";
import { State as EmptyState } from "./fold.js";
import type { Members } from "./message.js";
import { cut, flat, isMembers, number, plain, shown, shownTopic } from "./message.js";
import type {
  ClientRow,
  Detail,
  Field,
  LineLink,
  Mark,
  StateView,
  TokenRow,
  TopicRow,
} from "./protocol.js";
import { publishedTopics } from "./publish.js";
import type { Kind, Recording } from "./recording.js";
import { pretty, stateName, timeText, toneOf } from "./rows.js";

const VALUE_CHARACTERS = 20_000;
const ROWS_MAX = 500;
const FIELDS_MAX = 100;
const NAME_CHARACTERS = 100;

export function detailOf(recording: Recording, line: number, isWhole: boolean): Detail {
  const group = recording.groupOf(line);
  const kind = recording.kind(line);
  const members = recording.parse(line);
  const most = isWhole ? Number.POSITIVE_INFINITY : VALUE_CHARACTERS;
  return {
    line,
    input: recording.firstLine(group),
    end: recording.endLine(group),
    time: recording.time(group),
    kind: members === undefined ? "broken" : kind,
    tone: members === undefined ? "broken" : toneOf(kind, recording.isError(line)),
    bytes: recording.length(line),
    fields:
      members === undefined
        ? [{ name: "text", value: shown(cut(recording.text(line), most)) }]
        : fieldsOf(members, most),
    links: linksOf(recording, line, group, kind),
    publishes: publishedTopics(recording, group).length > 0,
  };
}

/** A line of a hub has at most ten members, a line from a stranger any number. */
function fieldsOf(members: Members, most: number): Field[] {
  const all = Object.entries(members).filter(([name]) => !["in", "out", "now"].includes(name));
  const fields = all
    .slice(0, FIELDS_MAX)
    .map(([name, value]) => fieldOf(shown(cut(name, NAME_CHARACTERS)), value, most));
  const more = all.length - fields.length;
  return more === 0 ? fields : [...fields, { name: "more", value: `${more} other members` }];
}

function fieldOf(name: string, value: unknown, most: number): Field {
  if (isMembers(value) && typeof value["base64"] === "string")
    return { name, value: shown(cut(`${value["base64"]} (base64: not UTF-8)`, most)) };
  if (isMembers(value))
    return { name, value: "", pretty: shownLines(cut(pretty(flat(value), most) ?? "…", most)) };
  if (Array.isArray(value)) {
    const entries = value.slice(0, most + 2).map((entry) => shown(plain(entry)));
    return { name, value: cut(entries.join("\n"), most) };
  }
  if (typeof value !== "string") return { name, value: numberText(name, value) };
  if (/^\s*\{/.test(value)) {
    const parts = name === "record" ? value.split("\n") : [value];
    const trees = parts.filter((part) => part !== "").map((part) => pretty(part, most));
    if (trees.every((tree) => tree !== undefined))
      return { name, value: "", pretty: shownLines(cut(trees.join("\n"), most)) };
  }
  return { name, value: shown(cut(value, most)) };
}

function numberText(name: string, value: unknown): string {
  const ms = number(value);
  if (/_at$|^at_ms$/.test(name) && ms > 0) return `${ms}  (${timeText(ms)})`;
  return flat(value);
}

function shownLines(text: string): string {
  return text.split("\n").map(shown).join("\n");
}

// --- what belongs together ---

/** In which kind of line, and under which member, the other end of a line stands. */
const PARTNERS: Partial<
  Record<Kind, readonly [member: string, kinds: readonly Kind[], text: string]>
> = {
  forward: ["forward", ["forward_done", "cancel_forward"], "its end"],
  forward_done: ["forward", ["forward"], "the forward"],
  cancel_forward: ["forward", ["forward"], "the forward"],
  http_request: ["request", ["respond"], "its answer"],
  respond: ["request", ["http_request"], "the request"],
  engine_run: ["call", ["engine_answer"], "its answer"],
  engine_join: ["call", ["engine_answer"], "its answer"],
  engine_answer: ["call", ["engine_run", "engine_join"], "the call"],
  client_opened: ["client", ["client_closed", "close"], "its end"],
  restore_client: ["client", ["client_closed", "close"], "its end"],
  client_closed: ["client", ["client_opened", "restore_client"], "when it opened"],
  close: ["client", ["client_opened", "restore_client"], "when it opened"],
  client_frame: ["client", ["client_opened", "restore_client"], "when it opened"],
  client_lagging: ["client", ["client_opened", "restore_client"], "when it opened"],
};

function linksOf(recording: Recording, line: number, group: number, kind: Kind): LineLink[] {
  const links: LineLink[] = [];
  const first = recording.firstLine(group);
  if (first !== line && kind !== "hash")
    links.push({ line: first, text: `caused by ${recording.kind(first)}` });
  const partner = PARTNERS[kind];
  if (partner !== undefined) {
    const [member, kinds, text] = partner;
    const found = findPartner(recording, line, group, member, kinds);
    if (found !== undefined) links.push({ line: found, text });
  }
  return links;
}

/** The nearest line of the same hub: openings and calls come before, ends after. */
function findPartner(
  recording: Recording,
  line: number,
  group: number,
  member: string,
  kinds: readonly Kind[],
): number | undefined {
  const value = recording.parse(line)?.[member];
  const hub = recording.hubOf(group);
  const isBefore = !["respond", "forward_done", "engine_answer", "client_closed"].includes(
    kinds[0]!,
  );
  const [step, end] = isBefore
    ? [-1, recording.firstLine(hub.from) - 1]
    : [1, recording.endLine(hub.to - 1)];
  for (let at = line + step; at !== end; at += step) {
    if (kinds.includes(recording.kind(at)) && recording.parse(at)?.[member] === value) return at;
  }
  return undefined;
}

// --- the state ---

export function stateOf(
  recording: Recording,
  group: number,
  after: { readonly state: State; readonly before: Before },
  filter: string,
): StateView {
  const { state, before } = after;
  const old = rewound(state, before);
  const word = filter.toLowerCase();
  const tokens = tokenRows(state, before);
  const clients = clientRows(state, before, old, word === "");
  const topics = topicRows(state, before, old);
  return {
    line: recording.firstLine(group),
    group,
    kind: recording.kind(recording.firstLine(group)),
    counts: {
      tokens: state.tokens.size,
      clients: state.clients.size,
      topics: topics.filter((topic) => topic.mark !== "gone").length,
    },
    tokens: chosen(tokens, (row) => `${row.key} ${row.topic} ${row.state}`, word),
    clients: chosen(clients, (row) => `${row.id} ${row.session} ${row.topics.join(" ")}`, word),
    topics: chosen(topics, (row) => row.name, word),
  };
}

/** What has changed comes first. */
function chosen<R extends { readonly mark: Mark }>(
  rows: R[],
  text: (row: R) => string,
  word: string,
): R[] {
  const found = word === "" ? rows : rows.filter((row) => text(row).toLowerCase().includes(word));
  return [
    ...found.filter((row) => row.mark !== ""),
    ...found.filter((row) => row.mark === ""),
  ].slice(0, ROWS_MAX);
}

/** The changed objects as they were before, in a state of their own. */
function rewound(state: State, before: Before): State {
  const old = new EmptyState();
  for (const [id, client] of before.clients) {
    if (client === undefined) continue;
    old.clients.set(id, client);
    for (const key of client.tokens) {
      const token = before.tokens.has(key) ? before.tokens.get(key) : state.tokens.get(key);
      if (token !== undefined) old.tokens.set(key, token);
    }
  }
  // A token may change while its client's own record does not.
  for (const [key, token] of before.tokens) {
    if (token?.holder === undefined || old.clients.has(token.holder)) continue;
    const client = state.clients.get(token.holder);
    if (client === undefined) continue;
    old.clients.set(token.holder, client);
    for (const other of client.tokens) {
      const now = before.tokens.has(other) ? before.tokens.get(other) : state.tokens.get(other);
      if (now !== undefined) old.tokens.set(other, now);
    }
    old.tokens.set(key, token);
  }
  return old;
}

function markOf(isThere: boolean, isTouched: boolean, wasThere: boolean): Mark {
  if (!isTouched) return "";
  if (!isThere) return wasThere ? "gone" : "";
  return wasThere ? "changed" : "new";
}

function tokenRows(state: State, before: Before): TokenRow[] {
  const row = (key: string, token: Token, mark: Mark, was: string): TokenRow => ({
    key,
    state: stateName(token.state),
    topic: token.topic === undefined ? "" : shownTopic(token.topic),
    holder: token.holder,
    expiresAt: token.expiresAt,
    mark,
    was,
  });
  const rows: TokenRow[] = [];
  for (const [key, token] of state.tokens) {
    const old = before.tokens.get(key);
    const isTouched = before.tokens.has(key) && !isSame(old, token);
    const was = old === undefined ? "" : stateName(old.state);
    rows.push(row(key, token, markOf(true, isTouched, old !== undefined), was));
  }
  for (const [key, old] of before.tokens) {
    if (old === undefined || state.tokens.has(key)) continue;
    rows.push(row(key, old, "gone", stateName(old.state)));
  }
  return rows;
}

function isSame(a: Token | undefined, b: Token): boolean {
  return (
    a !== undefined &&
    a.state === b.state &&
    a.expiresAt === b.expiresAt &&
    a.record === b.record &&
    a.holder === b.holder
  );
}

/** @param isShort only so many are shown that have not changed */
function clientRows(state: State, before: Before, old: State, isShort: boolean): ClientRow[] {
  const rows: ClientRow[] = [];
  const row = (id: number, from: State, mark: Mark): ClientRow => {
    const client = from.clients.get(id)!;
    return {
      id,
      opened: client.opened,
      session: client.session,
      topics: [...from.topicsOf(id)].slice(0, 20).map(shownTopic),
      tokens: client.tokens.size,
      mark,
    };
  };
  for (const [id, client] of state.clients) {
    if (isShort && rows.length >= ROWS_MAX && !before.clients.has(id)) continue;
    const was = before.clients.get(id);
    const isTouched =
      before.clients.has(id) &&
      (was === undefined || was.record !== client.record || was.opened !== client.opened);
    rows.push(row(id, state, markOf(true, isTouched, was !== undefined)));
  }
  for (const [id, was] of before.clients) {
    if (was !== undefined && !state.clients.has(id)) rows.push(row(id, old, "gone"));
  }
  return rows;
}

function topicRows(state: State, before: Before, old: State): TopicRow[] {
  const subscribers = new Map<string, number[]>();
  for (const id of state.clients.keys()) {
    for (const topic of state.topicsOf(id)) {
      const known = subscribers.get(topic);
      if (known === undefined) subscribers.set(topic, [id]);
      else known.push(id);
    }
  }
  const changes = new Map<string, { joined: number[]; left: number[] }>();
  const change = (topic: string) => {
    const known = changes.get(topic) ?? { joined: [], left: [] };
    changes.set(topic, known);
    return known;
  };
  const touched = new Set([...before.clients.keys(), ...old.clients.keys()]);
  for (const [key, was] of before.tokens) {
    for (const id of [was?.holder, state.tokens.get(key)?.holder])
      if (id !== undefined) touched.add(id);
  }
  for (const id of touched) {
    const now = state.topicsOf(id);
    const then = old.topicsOf(id);
    const isKnown = old.clients.has(id) || before.clients.has(id);
    for (const topic of now) if (isKnown && !then.has(topic)) change(topic).joined.push(id);
    for (const topic of then) if (!now.has(topic)) change(topic).left.push(id);
  }
  for (const topic of changes.keys()) if (!subscribers.has(topic)) subscribers.set(topic, []);
  return [...subscribers]
    .map(([topic, clients]) => {
      const { joined, left } = changes.get(topic) ?? { joined: [], left: [] };
      const isNew = joined.length > 0 && joined.length === clients.length && left.length === 0;
      const mark: Mark =
        clients.length === 0
          ? "gone"
          : isNew
            ? "new"
            : joined.length + left.length > 0
              ? "changed"
              : "";
      return {
        name: shownTopic(topic),
        isChannel: topic.startsWith("channel:"),
        clients: clients.sort((a, b) => a - b),
        joined,
        left,
        mark,
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
