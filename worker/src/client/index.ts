// A connection to Sidekick for Covenant clients. It reconnects until disconnect(), and delivers or
// reports what the app missed. docs/client.md lists its guarantees.
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
 * @param options with `server`, the connection orders the queries that updates cause, and replaces
 *   lost tokens
 */
export function connectSidekick<Server extends ServerConnection | undefined = undefined>(
  url: string,
  options: SidekickOptions & { server?: Server } = {},
): Sidekick<Server> {
  return new Client(url, options) as Sidekick as Sidekick<Server>;
}

/** connectSidekick under the name that it has in `@covenant-rpc/client`. */
export const httpClientToSidekick = connectSidekick;

/** `client.send` then settles with the outcome. The npm method waits 100 ms for an error. */
export function withAcks<C extends { send: Anything }>(client: C, sidekick: Sidekick): C {
  client.send = sidekick.send.bind(sidekick);
  return client;
}
