// The families of metrics that a host appends to those of its hub.
import { HOST_FAMILIES } from "../module/border.generated.js";
import type { Histogram } from "./histogram.js";

type Families = typeof HOST_FAMILIES;
type ValueOf<Family> = Family extends { readonly type: "histogram" } ? Histogram : number;

/** By family. A host leaves out what it cannot know. */
export type HostValues = { readonly [F in keyof Families]?: ValueOf<Families[F]> };

export function familiesText(values: HostValues): string {
  let text = "";
  for (const [name, { type, meaning }] of Object.entries(HOST_FAMILIES)) {
    const value = values[name as keyof HostValues];
    if (value === undefined) continue;
    const series = typeof value === "number" ? `${name} ${value}\n` : value.text(name);
    text += `# HELP ${name} ${meaning}\n# TYPE ${name} ${type}\n${series}`;
  }
  return text;
}
