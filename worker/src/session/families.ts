// The families of metrics that a host appends to those of its hub.
import { HOST_FAMILIES } from "../module/border.generated.js";

/** By family. A host leaves out what it cannot know. */
export type HostValues = { readonly [F in keyof typeof HOST_FAMILIES]?: number };

export function familiesText(values: HostValues): string {
  let text = "";
  for (const [name, { type, meaning }] of Object.entries(HOST_FAMILIES)) {
    const value = values[name as keyof HostValues];
    if (value !== undefined)
      text += `# HELP ${name} ${meaning}\n# TYPE ${name} ${type}\n${name} ${value}\n`;
  }
  return text;
}
