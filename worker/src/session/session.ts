// Drives a hub on behalf of a host: applies one input at a time, has its actions performed in list
// order, tells the hub what could not be stored, records, and replaces a hub that trapped. All
// hosts in TypeScript use it. It does no I/O: that is the host's (io.ts).
import type {
  Action,
  HttpRequestInput,
  Input,
  Limits,
  RestoreClientInput,
} from "../module/border.generated.js";
import { ERROR_CODES } from "../module/border.generated.js";
import type { HubLike, Verdict } from "../module/hub.js";
import { text } from "../module/hub.js";
import { familiesText } from "./families.js";
import type { Io, Performer, Recording } from "./io.js";
import { forwardDone, unanswered } from "./outcome.js";
import { randomEpoch } from "./random.js";

const CLOSE_INTERNAL_ERROR = 1011;
const BROKEN = [500, "Internal error"] as const;
const NO_HUB = [503, "Service Unavailable: this Sidekick cannot start; see its log"] as const;
const INTERNAL = ERROR_CODES.indexOf("internal");
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

/** The hub is unusable. */
class Trap extends Error {}

/** Wraps every call on a hub: its exceptions are traps, and no others are. */
function asked<T>(ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw new Trap("the hub trapped", { cause: error });
  }
}

export class Session {
  readonly limits: Limits;
  readonly #io: Io;
  /** Created but not started: the first one, so that a wrong configuration is reported at once. */
  #first: HubLike | undefined;
  /** Undefined: it is restored before the next input. */
  #hub: HubLike | undefined;
  #isRecording = false;
  #isApplying = false;
  /** Inputs that came meanwhile: a call would invalidate the actions' views. */
  #waiting: Input[] = [];
  readonly #unansweredRequests = new Set<number>();
  /** The end of the drain; undefined: there is none. */
  #drainedAt: number | undefined;
  #isShuttingDown = false;
  #epoch = 0;
  /** Of this hub. */
  #latestForward: number | undefined;
  /** Where the latest hub trapped, until its recording has it. */
  #unrecorded: { readonly now: number; readonly input: Input } | undefined;
  /** The latest input of the restore under way. */
  #restoring: { readonly now: number; readonly input: Input } | undefined;
  /** Whether the lack of a hub has been reported. */
  #isReported = false;
  #traps = 0;
  /** Hubs that were created after the first one. */
  #renewals = 0;
  #recordedBytes = 0;

  /** @throws ConfigError if the configuration is rejected */
  constructor(io: Io) {
    this.#io = io;
    this.#first = io.createHub();
    this.limits = this.#first.limits;
  }

  /** Whether the hub owes an answer to a request. */
  get isAnswering(): boolean {
    return this.#unansweredRequests.size > 0;
  }

  /** Starts the hub, restored from the stored records. Without this call the first input does. */
  wake(): void {
    if (this.#hub === undefined) this.#work(() => this.#restore());
  }

  /** Replaces the hub with one that is restored from the stored records. */
  restart(): void {
    this.#work(() => {
      this.#hub = undefined;
      this.#restore();
    });
  }

  /**
   * Passes one input to the hub and has the resulting actions performed. The only method that an
   * Io may call: the input waits until its actions are performed.
   */
  apply(input: Input): void {
    if (this.#isApplying) this.#waiting.push(input);
    else this.#work(() => this.#applyOne(input));
  }

  /**
   * Says how to handle a request. Call it before the body is read. Undefined: there is no hub, or
   * it trapped; the request has been answered.
   */
  admit(request: HttpRequestInput): Verdict | undefined {
    return this.#ask((hub) => hub.admit(request), request);
  }

  /**
   * The answer to a request with the verdict `metrics`, which is not passed on. Undefined: as for
   * `admit`.
   */
  metrics(request: HttpRequestInput): string | undefined {
    return this.#ask(
      (hub) =>
        text(hub.metrics()) +
        familiesText({
          sidekick_host_traps_total: this.#traps,
          sidekick_host_recorded_bytes_total: this.#recordedBytes,
          sidekick_module_memory_bytes: hub.memoryBytes,
          ...this.#io.measure?.(),
        }),
      request,
    );
  }

  /** Asks the hub about a request, which is no input yet. */
  #ask<T>(ask: (hub: HubLike) => T, request: HttpRequestInput): T | undefined {
    this.wake();
    if (this.#hub === undefined) {
      this.#refuse(request, NO_HUB);
      return undefined;
    }
    return this.#work(() => {
      const answer = this.#answerOf(ask, request);
      if (answer === undefined) this.#restore();
      return answer;
    });
  }

  /**
   * The trace of another hub that is restored now: what this one knows, but for what is not stored.
   * Views, each valid until the next.
   */
  *snapshot(): Generator<Uint8Array> {
    const hub = this.#io.createHub();
    const now = this.#io.now();
    yield hub.describe();
    yield encoder.encode("\n");
    hub.record(true);
    const lines = (input: Input) => {
      hub.handle(now, input);
      return hub.recorded();
    };
    yield lines({ type: "begin", epoch: this.#epoch });
    if (this.#latestForward !== undefined)
      yield lines({ type: "begin", epoch: this.#latestForward });
    for (const token of this.#io.storedTokens()) yield lines(token);
    for (const client of this.#io.openClients()) yield lines(client);
    yield lines({ type: "restored" });
    for (const input of this.#stopInputs()) yield lines(input);
  }

  /**
   * Call after a snapshot. This hub may have a timer that is set too early, and a hub that replays
   * the snapshot does not. This gives the hub an input after which both set the same timer. It does
   * nothing during a drain, because the other hub does not know its steps.
   */
  alignTimer(): void {
    if (this.#drainedAt === undefined) this.apply({ type: "timer_fired" });
  }

  /** Then applies what has come meanwhile. */
  #work<T>(work: () => T): T {
    if (this.#isApplying) throw new Error("expected apply: the session is performing actions");
    this.#isApplying = true;
    try {
      const result = work();
      while (this.#waiting.length > 0) this.#applyOne(this.#waiting.shift()!);
      return result;
    } finally {
      this.#isApplying = false;
    }
  }

  #applyOne(input: Input): void {
    if (input.type === "http_request") this.#unansweredRequests.add(input.request);
    else if (input.type === "shutting_down") this.#isShuttingDown = true;
    else if (input.type === "draining") this.#drainedAt = this.#io.now() + input.ms;
    if (this.#hub === undefined) {
      const before = this.#renewals;
      this.#restore(input);
      // From connections that createHub has replaced; at the start there are no others.
      if (isFromEngine(input) && this.#renewals > before) return;
    }
    if (this.#hub === undefined) this.#refuse(input, NO_HUB);
    else if (!this.#isHandled(input)) this.#restore();
  }

  // After a trap, the hub must be released before the next one is created: the memory may not hold
  // both. So no method that creates one, and none that calls it, holds the old one or its error,
  // whose stack holds it, too.

  /** Undefined: the hub trapped. */
  #answerOf<T>(ask: (hub: HubLike) => T, request: HttpRequestInput): T | undefined {
    try {
      return asked(() => ask(this.#hub!));
    } catch (error) {
      this.#onTrap(error, this.#io.now(), request);
      return undefined;
    }
  }

  /** Returns false if the hub trapped. */
  #isHandled(input: Input): boolean {
    const now = this.#io.now();
    try {
      this.#handle(this.#hub!, now, input);
      return true;
    } catch (error) {
      this.#onTrap(error, now, input);
      return false;
    }
  }

  /** Returns the actions, which have been performed if the host wants it. */
  #handle(hub: HubLike, now: number, input: Input, isPerformed = true): readonly Action[] {
    const actions = asked(() => hub.handle(now, input));
    const unstored = isPerformed ? this.#perform(input, actions) : [];
    // After the actions: the next call on the hub invalidates their views.
    if (this.#isRecording) {
      const lines = asked(() => hub.recorded());
      this.#record(hub, lines, (recording) => recording.write(lines));
    }
    this.#waiting.unshift(...unstored);
    return actions;
  }

  /** Returns the inputs that tell the hub what could not be stored. */
  #perform(input: Input, actions: readonly Action[]): Input[] {
    let isStored = true;
    let key = NOTHING;
    const withheld: Input[] = [];
    for (const action of actions) {
      if (action.type === "forward") this.#latestForward = action.forward;
      if (isStored || !isSeen(action)) {
        if (this.#isPerformed(action, input.type)) continue;
        isStored = false;
        if (action.type === "put_token" || action.type === "erase_token") key = action.key.slice();
      } else if (action.type === "forward") {
        withheld.push(forwardDone(action.forward, unanswered("unreachable")));
      }
    }
    if (isStored) return [];
    const client = "client" in input ? input.client : 0;
    const request = input.type === "http_request" ? input.request : 0;
    return [{ type: "not_stored", client, request, key }, ...withheld];
  }

  /** Returns false if it could not be stored but must be. */
  #isPerformed(action: Action, input: Input["type"]): boolean {
    try {
      if (action.type === "respond") this.#unansweredRequests.delete(action.request);
      (this.#io as Required<Performer>)[action.type](action as never);
      return true;
    } catch (error) {
      // An error in one action must not close every socket.
      this.#io.report("an action failed", error, { input, action: action.type });
      return !("durable" in action) || action.durable === 0;
    }
  }

  /** An error of the recording ends the recording. The hub stops once nobody takes its lines. */
  #record(hub: HubLike, lines: Uint8Array, write: (recording: Recording) => void): void {
    const { recording } = this.#io;
    if (recording === undefined || !this.#isRecording) return;
    this.#recordedBytes += lines.byteLength;
    try {
      write(recording);
      if (recording.isActive) return;
    } catch (error) {
      this.#io.report("the recording failed and ends here", error);
    }
    this.#isRecording = false;
    asked(() => hub.record(false));
  }

  // --- without a hub ---

  /**
   * The input is never repeated.
   * @throws the error if it is no trap
   */
  #onTrap(error: unknown, now: number, input: Input): void {
    if (!(error instanceof Trap)) throw error;
    this.#hub = undefined;
    this.#traps++;
    const at = this.#noteTrap({ now, input });
    this.#io.report("the hub trapped and is replaced; please report this", error.cause, at);
    this.#refuse(input, BROKEN);
    for (const request of this.#unansweredRequests) this.#answer(request, BROKEN, input);
  }

  /** Returns fields for the log. The input will be the next line of the recording, if any. */
  #noteTrap(at: { readonly now: number; readonly input: Input }): Record<string, string> {
    const { recording, howToRecord = "none" } = this.#io;
    if (this.#isRecording) this.#unrecorded = at;
    const isOver = recording !== undefined && !this.#isRecording;
    const place = isOver ? "has ended" : (recording?.place(this.#epoch) ?? howToRecord);
    return { input: at.input.type, recording: place };
  }

  /** Closes the sender of an input that no hub has handled, or answers it. */
  #refuse(input: Input, answer: typeof BROKEN | typeof NO_HUB): void {
    if (input.type === "http_request") this.#answer(input.request, answer, input);
    else if ("client" in input && input.type !== "client_closed") this.#close(input.client, input);
  }

  #answer(request: number, [status, text]: typeof BROKEN | typeof NO_HUB, { type }: Input): void {
    const answer: Action = {
      type: "respond",
      request,
      status,
      delay_ms: 0,
      content_type: encoder.encode("text/plain; charset=utf-8"),
      header: NOTHING,
      body: encoder.encode(text),
      code: INTERNAL,
    };
    this.#isPerformed(answer, type);
  }

  #close(client: number, { type }: Input): void {
    const reason = encoder.encode("internal error");
    const code = CLOSE_INTERNAL_ERROR;
    this.#isPerformed({ type: "close", client, code, reason, why: INTERNAL }, type);
  }

  /**
   * Leaves no hub behind if there cannot be one now: the next input tries again.
   * @param current the input that will be applied next
   */
  #restore(current?: Input): void {
    const start = () => this.#start(current);
    if (this.#isTried(start, "dropping all tokens and closing all sockets")) return;
    // The records themselves cause the trap. Dropping all state is better than serving nobody.
    this.#isTried(() => {
      this.#io.forgetTokens();
      for (const opened of this.#restorable(current)) this.#close(opened.client, opened);
      start();
    }, "each input tries again");
  }

  /** Returns false if the hub trapped on the stored records. */
  #isTried(start: () => void, consequence: string): boolean {
    try {
      start();
      return true;
    } catch (error) {
      this.#hub = undefined;
      if (error instanceof Trap) {
        const at = this.#restoring && this.#noteTrap(this.#restoring);
        this.#io.report(`the stored records cannot be restored: ${consequence}`, error.cause, at);
        return false;
      }
      if (!this.#isReported) this.#io.report("there is no hub; each input tries again", error);
      this.#isReported = true;
      return true;
    }
  }

  #start(current: Input | undefined): void {
    const io = this.#io;
    if (this.#first === undefined) io.renewEngine?.();
    const hub = this.#first ?? this.#renewed();
    this.#first = undefined;
    this.#hub = hub;
    this.#restoring = undefined;
    this.#startRecording(hub);
    const give = (input: Input, isPerformed = true) => {
      this.#restoring = { now: io.now(), input };
      return this.#handle(hub, this.#restoring.now, input, isPerformed);
    };
    this.#epoch = randomEpoch();
    this.#latestForward = undefined;
    give({ type: "begin", epoch: this.#epoch });
    // The hub erases damaged ones: after the iteration, in which the host reads its storage.
    const damaged: Action[] = [];
    for (const token of io.storedTokens()) {
      const actions = give(token, false);
      if (actions.length > 0) damaged.push({ type: "erase_token", key: token.key, durable: 0 });
    }
    for (const client of this.#restorable(current)) give(client);
    give({ type: "restored" });
    for (const input of this.#stopInputs()) give(input);
    for (const action of damaged) this.#isPerformed(action, "restored");
    this.#record(hub, NOTHING, (recording) => recording.restored());
    this.#restoring = undefined;
    this.#isReported = false;
  }

  /** A new hub stops as the last one did. */
  #stopInputs(): Input[] {
    const inputs: Input[] = [];
    if (this.#drainedAt !== undefined)
      inputs.push({ type: "draining", ms: Math.max(0, this.#drainedAt - this.#io.now()) });
    if (this.#isShuttingDown) inputs.push({ type: "shutting_down" });
    return inputs;
  }

  /** Another hub, with other connections to the engine. */
  #renewed(): HubLike {
    this.#renewals++;
    this.#waiting = this.#waiting.filter((input) => !isFromEngine(input));
    return this.#io.createHub();
  }

  /** Those whose client_opened does not come only now. */
  #restorable(current: Input | undefined): RestoreClientInput[] {
    const opening = new Set(
      [current, ...this.#waiting].map((input) => input?.type === "client_opened" && input.client),
    );
    return [...this.#io.openClients()].filter(({ client }) => !opening.has(client));
  }

  #startRecording(hub: HubLike): void {
    this.#isRecording = this.#io.recording !== undefined;
    if (!this.#isRecording) return;
    const trap = this.#unrecorded;
    this.#unrecorded = undefined;
    if (trap !== undefined) {
      const lines = asked(() => hub.recordInput(trap.now, trap.input));
      this.#record(hub, lines, (recording) => recording.write(lines));
    }
    const line = asked(() => hub.describe());
    this.#isRecording = true; // also after one that ended meanwhile
    this.#recordedBytes++; // the newline that it lacks
    this.#record(hub, line, (recording) => recording.begin(line));
    if (this.#isRecording) asked(() => hub.record(true));
  }
}

function isFromEngine({ type }: Input): boolean {
  return type.startsWith("engine_");
}

/** Whether a peer learns of it. */
function isSeen({ type }: Action): boolean {
  return type === "send" || type === "respond" || type === "forward";
}
