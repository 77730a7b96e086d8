// Random conversations through the reference and through our module, for as long as requested:
//   node --import tsx tests/oracle/run.ts --seeds 100000 [--from 1] [--findings 3]
//   SEED=17 node --import tsx tests/oracle/run.ts
import { parseArgs } from "node:util";

import { compare, explain, shrink } from "./compare.ts";
import { all, type Difference } from "./differences.ts";
import { generate } from "./script.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    findings: { type: "string", default: "3" },
  },
});
const only = process.env["SEED"];
const first = Number(only ?? values.from);
const count = only === undefined ? Number(values.seeds) : 1;
console.log(`SEED=${first} and the next ${count - 1} seeds`);

const met = new Map<Difference, number>();
const started = performance.now();
let steps = 0;
let findings = 0;
let seed = first;
for (; seed < first + count && findings < Number(values.findings); ++seed) {
  const conversation = generate(seed);
  steps += conversation.length;
  if ((await compare(conversation, { met })) === undefined) continue;
  ++findings;
  const short = await shrink(conversation);
  console.log(
    `\nSEED=${seed} differs; shrunk from ${conversation.length} steps ` +
      `to:\n${explain(short, (await compare(short))!)}`,
  );
}

const seconds = (performance.now() - started) / 1000;
const perSecond = Math.round((seed - first) / seconds);
console.log(
  `${seed - first} conversations, ${steps} steps, ${seconds.toFixed(1)} s: ${perSecond} ` +
    `conversations per second, ${findings} findings`,
);
console.log(all.map((name) => `  ${name} ${met.get(name) ?? 0}`).join("\n"));
const unmet = all.filter((name) => !met.has(name));
if (unmet.length > 0 && count >= 1000)
  console.log(`differences that never occurred: ${unmet.join(", ")}`);
process.exitCode = findings > 0 || (unmet.length > 0 && count >= 1000) ? 1 : 0;
