// A load balancer in front of two hosts, of which one drains: see shared/support/fleet.ts. Prints a
// table for docs/performance.md; fails if a client missed a publish or did not come back.
//
//   node --import tsx tests/hosts/drain.ts [--clients 1000] [--seconds 10]
//
// SIDEKICK_COMMAND chooses the host, as for the tests.
import { parseArgs } from "node:util";
import { stopOneOfTwo } from "./shared/support/fleet.ts";
import { closeEverything } from "./shared/support/left-open.ts";
import { killLeftRunning } from "./shared/support/run.ts";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "1000" },
    seconds: { type: "string", default: "10" },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (/^\d{1,4}$/.test(value)) continue;
  console.error(`--${name}: expected a whole number, got ${JSON.stringify(value)}`);
  process.exit(2);
}
const [clients, seconds] = [Number(values.clients), Number(values.seconds)];
const flags = ["--host", "127.0.0.1", "--secret", "s", "--log-level", "info"];
const report = await stopOneOfTwo(clients, seconds, flags).finally(async () => {
  await closeEverything();
  killLeftRunning();
});
const { connects, missed } = report;
const problems = [...report.problems];
const row = (cells: readonly (string | number)[]) => console.log(`| ${cells.join(" | ")} |`);
row(["clients", "drain, s", "host ended after, s", "connects", "peak, per 100 ms", "publishes"]);
row(Array.from({ length: 6 }, () => "---:"));
row([
  clients,
  seconds,
  report.seconds.toFixed(1),
  connects.reduce((sum, count) => sum + count, 0),
  Math.max(0, ...connects),
  report.publishes,
]);
console.log(`closes: ${JSON.stringify(report.codes)}`);
console.log(`connects per 100 ms since the signal: ${connects.join(" ")}`);
if (missed.length > 0) problems.push(`${missed.length} missed publishes, such as ${missed[0]}`);
if (report.strangers > 0) problems.push(`${report.strangers} clients changed their session`);
for (const problem of problems) console.error(problem);
process.exit(problems.length > 0 ? 1 : 0);
