// To which topics a client is subscribed instead of the one that was asked for.
import { shownTopic } from "./message.js";

const SHOWN_TOPICS = 3;

/** A name that is nearly right comes first. */
export function subscribedTo(topics: readonly string[], topic: string): string {
  if (topics.length === 0) return "It is subscribed to nothing.";
  const sorted = topics
    .slice(0, 1000)
    .map((name) => ({ name, distance: distance(name, topic) }))
    .sort((a, b) => a.distance - b.distance);
  const nearest = sorted[0]!;
  if (nearest.distance <= Math.max(3, topic.length / 3))
    return `Nearest: it is subscribed to ${shownTopic(nearest.name)}.`;
  const shown = sorted.slice(0, SHOWN_TOPICS).map(({ name }) => shownTopic(name));
  const more = topics.length > SHOWN_TOPICS ? ` and ${topics.length - SHOWN_TOPICS} more` : "";
  return `It is subscribed to ${shown.join(", ")}${more}.`;
}

const DISTANCE_LENGTH = 200;

/** Levenshtein's. */
function distance(left: string, right: string): number {
  const [a, b] = [left.slice(0, DISTANCE_LENGTH), right.slice(0, DISTANCE_LENGTH)];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost));
    }
    row = next;
  }
  return row[b.length]!;
}
