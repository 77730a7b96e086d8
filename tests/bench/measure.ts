// Servers side by side: the rounds of all are interleaved (ABCABC), and medians are taken.
import { median } from "./against/statistics.js";
import { progress } from "./processes.js";
import type { MemoryScenario, Row, Scenario } from "./scenarios.js";
import { type Measured, Rig, type Target } from "./targets.js";

/** Not counted. */
const warmups = 2;

export interface Figure {
  row: Row;
  by: Map<Target, Measured>;
}

export async function measure(
  scenario: Scenario,
  running: readonly Target[],
  rounds: number,
): Promise<Figure[]> {
  const rigs: Rig[] = [];
  const all = new Map<string, Measured[]>();
  try {
    for (const target of running) {
      progress(`${scenario.name}: setting up ${target.label}`);
      const rig = await Rig.start(target);
      rigs.push(rig);
      for (const command of scenario.setup) await rig.run(command);
    }
    for (let round = 1 - warmups; round <= rounds; round++) {
      progress(`${scenario.name}: ${round <= 0 ? "warming up" : `round ${round} of ${rounds}`}`);
      for (const row of scenario.rows) {
        for (const rig of rigs) {
          const measured = await rig.run(row.command);
          if (row.after) await rig.run(row.after);
          if (round <= 0) continue;
          const key = `${row.name}/${rig.target.id}`;
          all.set(key, [...(all.get(key) ?? []), measured]);
        }
      }
    }
  } finally {
    await Promise.all(rigs.map((rig) => rig.end()));
  }
  return scenario.rows.map((row) => ({
    row,
    by: new Map(rigs.map((rig) => [rig.target, medians(all.get(`${row.name}/${rig.target.id}`)!)])),
  }));
}

export interface Held {
  scenario: MemoryScenario;
  kilobytes: Map<Target, number>;
}

export async function measureMemory(
  scenario: MemoryScenario,
  running: readonly Target[],
): Promise<Held> {
  const all = new Map<Target, number[]>();
  for (let round = 1; round <= scenario.rounds; round++) {
    for (const target of running) {
      progress(`${scenario.name}: round ${round} of ${scenario.rounds}, ${target.label}`);
      const rig = await Rig.start(target, scenario.limits);
      try {
        for (const command of scenario.warm) await rig.run(command);
        let before = await rig.heldBytes(scenario.collections);
        for (let reading = 0; reading < scenario.readings; reading++) {
          for (const command of scenario.commands) await rig.run(command);
          const after = await rig.heldBytes(scenario.collections);
          all.set(target, [...(all.get(target) ?? []), (after - before) / 1024 / scenario.count]);
          before = after;
        }
      } finally {
        await rig.end();
      }
    }
  }
  return {
    scenario,
    kilobytes: new Map([...all].map(([target, values]) => [target, median(values)])),
  };
}

function medians(runs: readonly Measured[]): Measured {
  return Object.fromEntries(
    Object.keys(runs[0]!).map((key) => [
      key,
      median(runs.map((run) => run[key as keyof Measured])),
    ]),
  ) as unknown as Measured;
}
