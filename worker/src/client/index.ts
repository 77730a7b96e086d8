// A connection to Sidekick for Covenant clients, which opens its socket again for as long as it is
// wanted, and tells the app what it missed. docs/client.md says what it guarantees.
//
//     const sidekick = connectSidekick("https://sidekick.example.com", { server });
//     const connections = { serverConnection: sidekick.server, sidekickConnection: sidekick };
//     const client = withAcks(new CovenantClient(covenant, connections), sidekick);
import { Client } from "./client.js";
import type { Anything, ServerConnection, Sidekick, SidekickOptions } from "./types.js";

export { SendError } from "./sends.js";
export type {
  ChannelError,
  Events,
  Gap,
  LostToken,
  ServerConnection,
  Sidekick,
  SidekickOptions,
  State,
  StateName,
} from "./types.js";

/**
 * @param url of the Sidekick: http(s) or ws(s), with its path
 * @param options `server` orders the queries that updates cause, and gets lost tokens anew
 */
export function connectSidekick<Server extends ServerConnection | undefined = undefined>(
  url: string,
  options: SidekickOptions & { server?: Server } = {},
): Sidekick<Server> {
  return new Client(url, options) as Sidekick as Sidekick<Server>;
}

/** connectSidekick under the name that it has in `@covenant-rpc/client`. */
export const httpClientToSidekick = connectSidekick;

/** Makes the promise of `client.send` true: Covenant's own resolves after 100 ms in any case. */
export function withAcks<C extends { send: Anything }>(client: C, sidekick: Sidekick): C {
  client.send = sidekick.send.bind(sidekick);
  return client;
}
