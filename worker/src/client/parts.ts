// What the parts of a client share: each has one noun, and finds the others here.
import type { Channels } from "./channels.js";
import type { Connection } from "./connection.js";
import type { HubClock } from "./hub-clock.js";
import type { Queries } from "./queries.js";
import type { Refetches } from "./refetch.js";
import type { Resources } from "./registers.js";
import type { Requests } from "./requests.js";
import type { Sends } from "./sends.js";
import type { Events, HandlerMessage, Settings, SidekickOptions } from "./types.js";

export interface Parts {
  readonly options: Settings & SidekickOptions;
  readonly hub: HubClock;
  readonly connection: Connection;
  readonly requests: Requests;
  readonly resources: Resources;
  readonly channels: Channels;
  readonly sends: Sends;
  readonly queries: Queries | undefined;
  readonly refetches: Refetches;
  /** Hands a message to the handlers; settles when all of them have. Never rejects. */
  emit(message: HandlerMessage): Promise<void>;
  tell<E extends keyof Events>(event: E, value: Events[E]): void;
}
