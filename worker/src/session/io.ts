// The interface of a session to its host, which performs actions and has clock and stored records.
import type { Action, RestoreClientInput, RestoreTokenInput } from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import type { HostValues } from "./families.js";

/**
 * One method per action of border.def. One that throws has not performed its action. Bytes are
 * views: copy what must outlive the call. `respond` is ignored if the peer has gone. `forward` ends
 * in one forward_done. After `close` nothing more from the client may reach the session.
 */
export type Performer = { [T in Exclude<Action["type"], EngineAction>]: Perform<T> } & {
  /** Without engine_shards there are no such actions. */
  [T in EngineAction]?: Perform<T>;
};

type EngineAction = "engine_run" | "engine_join" | "engine_leave";
type Perform<T> = (action: Extract<Action, { type: T }>) => void;

export interface Io extends Performer {
  /** Milliseconds since the Unix epoch, from a clock that does not jump. */
  now(): number;
  /**
   * Called at the start, after the previous hub trapped and was dropped, and for a snapshot beside
   * the hub.
   */
  createHub(): HubLike;
  /** Replaces the hub: the new one must get no event that was meant for the last one. */
  renewEngine?(): void;
  storedTokens(): Iterable<RestoreTokenInput & { readonly key: Uint8Array }>;
  /** The clients whose sockets are open and that the host has not been told to close. */
  openClients(): Iterable<RestoreClientInput>;
  /** Hubs trap on the stored tokens: forget them all. The session closes the clients. */
  forgetTokens(): void;
  /** Undefined: nothing is recorded. */
  readonly recording: Recording | undefined;
  /** How to start a recording, for the log of a trap without one. */
  readonly howToRecord?: string;
  /** The host's own metrics, beside those that the session knows. */
  measure?(): HostValues;
  /** Logs a bug or a failure of the storage. */
  report(message: string, error: unknown, at?: { readonly [name: string]: string }): void;
}

/** Takes the trace. */
export interface Recording {
  /** Once false, the hub stops producing lines until it is replaced. */
  readonly isActive: boolean;
  /**
   * The place of the next line, for the log.
   * @param epoch of the hub, as in its `begin`
   */
  place(epoch: number): string;
  /** A recording of a new hub begins with this line, which lacks its newline. */
  begin(firstLine: Uint8Array): void;
  /** Whole lines, a view. */
  write(lines: Uint8Array): void;
  /** Everything since `begin` belongs to the restore of the hub. */
  restored(): void;
}
