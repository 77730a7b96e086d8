// A hub, of whichever host, that shows its inputs to a test first. The host receives what `see`
// throws.
import type { Input } from "../../../../worker/src/module/border.generated.js";
import type { HubLike } from "../../../../worker/src/module/hub.js";

export function watched(hub: HubLike, see: (now: number, input: Input) => unknown): HubLike {
  return {
    limits: hub.limits,
    describe: (format) => hub.describe(format),
    admit: (request) => hub.admit(request),
    record: (on, format) => hub.record(on, format),
    recorded: () => hub.recorded(),
    recordInput: (now, input) => hub.recordInput(now, input),
    metrics: () => hub.metrics(),
    get memoryBytes() {
      return hub.memoryBytes;
    },
    handle(now, input) {
      see(now, input);
      return hub.handle(now, input);
    },
  };
}

/**
 * A hub that traps on any input with the word `trap!`, also if it is only asked about, and is
 * unusable from then on.
 * @param restore also on the first restored token
 */
export function trapping(hub: HubLike, restore: boolean): HubLike {
  let isDead = false;
  const hasWord = (bytes: unknown) =>
    (typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes as Uint8Array)).includes(
      "trap!",
    );
  const dieIf = (isFatal: boolean) => {
    isDead ||= isFatal;
    if (isDead) throw new Error("unreachable");
  };
  const trapped = watched(hub, (_now, input) =>
    dieIf(
      (input.type === "client_frame" && hasWord(input.bytes)) ||
        (input.type === "http_request" && hasWord(input.body)) ||
        (input.type === "engine_message" && hasWord(input.body)) ||
        (input.type === "restore_token" && restore),
    ),
  );
  return {
    ...trapped,
    admit(request) {
      dieIf(hasWord(request.path));
      return hub.admit(request);
    },
  };
}
