// Causes of a delivery, and deliveries of a cause: from a `send` to the publish and to the input
// that made each client a receiver, and back. All of it scans lines, so it yields now and then.
import type { Fold } from "./fold.js";
import { applyGroup } from "./fold.js";
import type { Members } from "./message.js";
import { bytesText, membersOf, number, shown, shownTopic, topicsOf } from "./message.js";
import type { Link } from "./protocol.js";
import { clientsOf, Publish, publishedTopics } from "./publish.js";
import type { Recording } from "./recording.js";

/** More links would bury the line that they belong to. */
const LINKS_MAX = 12;
const STEP_GROUPS = 256;

type Steps<T> = Generator<undefined, T, undefined>;

export function* causesOf(recording: Recording, fold: Fold, line: number): Steps<Link[]> {
  const group = recording.groupOf(line);
  const first = recording.firstLine(group);
  const kind = recording.kind(line);
  const links: Link[] = [];
  const origin = yield* originOf(recording, group);
  if (origin !== group && kind !== "hash") {
    const from = recording.firstLine(origin);
    links.push({ line: from, text: `started by ${nameOf(recording, from)}` });
  }
  if (kind === "send") links.push(...(yield* receiversOf(recording, fold, line, group)));
  if (line === first) {
    links.push(...(yield* publishesOf(recording, group)));
    links.push(...(yield* deliveriesTo(recording, fold, group)));
  }
  return links;
}

/** The type of a message, the method and path of a request, or the kind of another line. */
function nameOf(recording: Recording, line: number): string {
  const members = recording.parse(line) ?? {};
  const kind = recording.kind(line);
  if (kind === "http_request")
    return shown(`${bytesText(members["method"])} ${bytesText(members["path"])}`);
  const type = kind === "client_frame" ? frameOf(members)?.["type"] : undefined;
  return typeof type === "string" ? shown(type).slice(0, 40) : kind;
}

function frameOf(members: Members): Members | undefined {
  return membersOf(bytesText(members["bytes"]));
}

/** With an engine, an input may only continue what an earlier one of the same hub began. */
function* originOf(recording: Recording, group: number): Steps<number> {
  let at = group;
  for (;;) {
    const line = recording.firstLine(at);
    const kind = recording.kind(line);
    let from: number | undefined;
    if (kind === "engine_answer") from = yield* callOf(recording, at, line);
    else if (kind === "engine_message") from = yield* publishOf(recording, at, line);
    if (from === undefined || from >= at) return at;
    at = from;
  }
}

/** The group that made the call which this line answers. */
function* callOf(recording: Recording, group: number, line: number): Steps<number | undefined> {
  const call = recording.parse(line)?.["call"];
  const { from } = recording.hubOf(group);
  for (let at = group; at >= from; at--) {
    if (at % STEP_GROUPS === 0) yield undefined;
    for (let own = recording.firstLine(at); own < recording.endLine(at); own++) {
      const kind = recording.kind(own);
      if (kind !== "engine_run" && kind !== "engine_join") continue;
      if (recording.parse(own)?.["call"] === call) return at;
    }
  }
  return undefined;
}

/** The group whose publish came back as this message; undefined: another Sidekick's. */
function* publishOf(recording: Recording, group: number, line: number): Steps<number | undefined> {
  const topic = bytesText(recording.parse(line)?.["topic"]);
  const { from } = recording.hubOf(group);
  for (let at = group - 1; at >= from; at--) {
    if (at % STEP_GROUPS === 0) yield undefined;
    if (recording.kind(recording.firstLine(at)) !== "http_request") continue;
    if (!publishedTopics(recording, at).includes(topic)) continue;
    const publish = new Publish(recording, at, topic, recording.hubOf(at));
    if (publish.group === group) return at;
  }
  return undefined;
}

/** For a delivery: since which input each of its clients has received the topic. */
function* receiversOf(
  recording: Recording,
  fold: Fold,
  line: number,
  group: number,
): Steps<Link[]> {
  const action = recording.parse(line);
  const topics = deliveredTopics(action);
  if (topics.length === 0) return [];
  const clients = clientsOf(action).slice(0, LINKS_MAX);
  const since = yield* fold.receiving(group, topics, clients);
  const links: Link[] = [];
  for (const client of clients) {
    const joined = since.get(client);
    if (joined === undefined) continue;
    const from = recording.firstLine(yield* originOf(recording, joined));
    links.push({
      line: from,
      text: `client ${client} receives it because of ${nameOf(recording, from)}`,
    });
  }
  return links;
}

/** The topics of a message that a publish made; none for a reply. */
function deliveredTopics(action: Members | undefined): string[] {
  const message = membersOf(bytesText(action?.["text"]));
  const type = message?.["type"];
  return message !== undefined && (type === "message" || type === "updated")
    ? topicsOf(message)
    : [];
}

/** Where a publish went out. */
function* publishesOf(recording: Recording, group: number): Steps<Link[]> {
  const links = new Map<number, Link>();
  for (const topic of publishedTopics(recording, group)) {
    yield undefined;
    const publish = new Publish(recording, group, topic, recording.hubOf(group));
    for (const line of publish.sends) {
      const count = clientsOf(recording.parse(line)).length;
      const text = `delivered to ${count} client${count === 1 ? "" : "s"}`;
      if (!links.has(line)) links.set(line, { line, text });
    }
    if (links.size >= LINKS_MAX) break;
  }
  return [...links.values()];
}

/** For a subscribe, a listen or a restored client: the deliveries that follow from it. */
function* deliveriesTo(recording: Recording, fold: Fold, group: number): Steps<Link[]> {
  const first = recording.firstLine(group);
  const kind = recording.kind(first);
  if (kind !== "client_frame" && kind !== "restore_client") return [];
  const members = recording.parse(first) ?? {};
  const type = frameOf(members)?.["type"];
  if (kind === "client_frame" && type !== "subscribe" && type !== "listen") return [];
  const client = number(members["client"]);
  const joined = yield* joinedBy(recording, fold, group, client);
  if (joined === undefined) return [];
  const { state } = fold.after(joined.group);
  const own = state.copy();
  const links: Link[] = [];
  const { to } = recording.hubOf(group);
  for (let at = joined.group + 1; at < to; at++) {
    if (at % STEP_GROUPS === 0) yield undefined;
    for (let line = recording.firstLine(at); line < recording.endLine(at); line++) {
      if (recording.kind(line) !== "send") continue;
      const action = recording.parse(line);
      if (!clientsOf(action).includes(client)) continue;
      const topic = deliveredTopics(action).find((name) => joined.topics.includes(name));
      if (topic === undefined) continue;
      if (links.length === LINKS_MAX) return [...links, allOf(client, joined.topics)];
      links.push({ line, text: `delivers ${shown(shownTopic(topic))}` });
    }
    applyGroup(own, recording, at);
    if (!joined.topics.some((topic) => own.isSubscribed(client, topic))) break;
  }
  return links;
}

/** Names the filter that shows the deliveries which did not fit. */
function allOf(client: number, topics: readonly string[]): Link {
  const name = topics.length === 1 ? shownTopic(topics[0]!) : undefined;
  const topic = name === undefined ? "" : ` topic:${JSON.stringify(name)}`;
  return { filter: `client:${client} type:send${topic}`, text: "all deliveries" };
}

/** With an engine, the client receives the topics only after the calls of this group. */
function* joinedBy(
  recording: Recording,
  fold: Fold,
  group: number,
  client: number,
): Steps<{ readonly group: number; readonly topics: string[] } | undefined> {
  const calls = new Set<unknown>();
  const { to } = recording.hubOf(group);
  for (let at = group; at < to; at++) {
    if (at % STEP_GROUPS === 0) yield undefined;
    const first = recording.firstLine(at);
    if (at > group) {
      if (recording.kind(first) !== "engine_answer") continue;
      if (!calls.delete(recording.parse(first)?.["call"])) continue;
    }
    const before = at === 0 ? new Set<string>() : fold.after(at - 1).state.topicsOf(client);
    const topics = [...fold.after(at).state.topicsOf(client)].filter((name) => !before.has(name));
    if (topics.length > 0) return { group: at, topics };
    for (let line = first; line < recording.endLine(at); line++) {
      const kind = recording.kind(line);
      if (kind === "engine_run" || kind === "engine_join")
        calls.add(recording.parse(line)?.["call"]);
    }
    if (calls.size === 0) return undefined;
  }
  return undefined;
}
