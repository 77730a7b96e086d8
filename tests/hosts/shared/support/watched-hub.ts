// A hub that shows its inputs to a test before it takes them, in whichever host. What `see` throws is what the host gets.
import type { Input } from "../../../../worker/src/module/border.generated.js";
import type { HubLike } from "../../../../worker/src/module/hub.js";

export function watched(hub: HubLike, see: (now: number, input: Input) => unknown): HubLike {
  return {
    limits: hub.limits,
    describe: () => hub.describe(),
    bodyBytesMax: (method, path, authorization) => hub.bodyBytesMax(method, path, authorization),
    record: (on) => hub.record(on),
    recorded: () => hub.recorded(),
    recordInput: (now, input) => hub.recordInput(now, input),
    handle(now, input) {
      see(now, input);
      return hub.handle(now, input);
    },
  };
}
