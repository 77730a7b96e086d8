// The view of every peer in a conversation, step by step, as lines to compare.

/** One step, and what followed from it. */
export interface Step {
  readonly said: string;
  /** By client. */
  readonly got: readonly (readonly string[])[];
  readonly forwarded: readonly string[];
  /** Of one object: what it counts and stores. */
  readonly inside: readonly string[];
}

export const linesOf = ({ said, got, forwarded, inside }: Step): readonly string[] => [
  said,
  ...got.flatMap((messages, at) => messages.map((message) => `  client ${at} gets ${message}`)),
  ...forwarded.map((body) => `  app server gets ${body}`),
  ...inside.map((line) => `  ${line}`),
];

/**
 * What peers see, but for the order of what happens at different shards, which do not know of each
 * other: the changes of one POST with several resources, or messages of two channels. For each
 * client and topic, the order is the same. So is that of all replies to a client: its messages wait
 * for each other.
 */
export function inFreeOrder({ said, got, forwarded }: Step): readonly string[] {
  const lines = [said];
  for (const [at, messages] of got.entries()) {
    const replies: string[] = [];
    const byTopic = new Map<string, string[]>();
    for (const text of messages) {
      const { type, resource, channel, params } = JSON.parse(text);
      const isReply = type !== "updated" && type !== "message";
      if (isReply) replies.push(`  client ${at} is told ${text}`);
      const topic = resource ?? (channel && JSON.stringify([channel, params]));
      if (topic === undefined) continue;
      if (!byTopic.has(topic)) byTopic.set(topic, []);
      byTopic.get(topic)!.push(`  client ${at} gets ${text}`);
    }
    const topics = [...byTopic.keys()].sort();
    lines.push(...replies, ...topics.flatMap((topic) => byTopic.get(topic)!));
  }
  return [...lines, ...forwarded.map((body) => `  app server gets ${body}`)];
}
