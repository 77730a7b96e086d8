// The parts of a client find each other through this interface.
import type { Channels } from "./channels.js";
import type { Heartbeat } from "./heartbeat.js";
import type { HubClock } from "./hub-clock.js";
import type { Queries } from "./queries.js";
import type { Refetches } from "./refetch.js";
import type { Resources } from "./registers.js";
import type { Requests } from "./requests.js";
import type { Sends } from "./sends.js";
import type { Events, Frame, HandlerMessage, Settings, SidekickOptions, State } from "./types.js";

export interface Parts {
  readonly options: Settings & SidekickOptions;
  readonly state: State;
  readonly heartbeat: Heartbeat;
  readonly isLive: boolean;
  /** Whether there can be a socket. */
  readonly isPossible: boolean;
  readonly hub: HubClock;
  readonly requests: Requests;
  readonly resources: Resources;
  readonly channels: Channels;
  readonly sends: Sends;
  readonly server: Queries | undefined;
  readonly refetches: Refetches;
  connect(): void;
  write(text: string): void;
  /** Hands a message to the handlers; settles when all of them have. Never rejects. */
  emit(message: HandlerMessage): Promise<unknown>;
  /** Reports an error that no handler gets. */
  complain(frame: Frame): void;
  tell<E extends keyof Events>(event: E, value: Events[E]): void;
}
