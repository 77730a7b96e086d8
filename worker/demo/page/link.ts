// Keeps a page connected. The npm client opens one WebSocket and never another, so this creates a
// new client when the socket is gone and tells the page to listen and join again. For a minute
// (token_resume_ms) a page could subscribe again with the tokens it has. This one asks the app
// server for new tokens, which also works after a longer outage or a restart of the Sidekick.
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToServer, httpClientToSidekick } from "@covenant-rpc/client/interfaces/http";
import type { SidekickOutgoingMessage } from "@covenant-rpc/core/sidekick/protocol";
import { covenant } from "../covenant.js";

const connect = (serverUrl: string, sidekickUrl: string) => {
  const sidekick = httpClientToSidekick(sidekickUrl);
  const client = new CovenantClient(covenant, {
    serverConnection: httpClientToServer(serverUrl, {}),
    sidekickConnection: sidekick,
  });
  // The connection reports when its socket fails but not when it closes, so check the socket
  // itself. It is private in the types; if a later version hides it, this throws at once instead of
  // never noticing a lost connection.
  const { socket } = sidekick as unknown as { socket?: WebSocket };
  if (!socket)
    throw new Error(
      "httpClientToSidekick no longer has a `socket`: update worker/demo/page/link.ts",
    );
  return { client, sidekick, socket };
};
export type Client = ReturnType<typeof connect>["client"];

export interface LinkEvents {
  /**
   * A new client with an open socket: listen and join again. Everything asked of an earlier client
   * is void.
   */
  onConnected(client: Client): void;
  onLost(retryInMs: number): void;
  onMessage(message: SidekickOutgoingMessage): void;
}

const retryMsMin = 500;
const retryMsMax = 10_000;

export function keepConnected(serverUrl: string, sidekickUrl: string, events: LinkEvents): void {
  let failures = 0;
  const open = () => {
    const { client, sidekick, socket } = connect(serverUrl, sidekickUrl);
    sidekick.onMessage((message) => events.onMessage(message));
    socket.addEventListener("open", () => {
      failures = 0;
      events.onConnected(client);
    });
    socket.addEventListener("close", () => {
      const retryInMs = Math.min(retryMsMin * 2 ** failures++, retryMsMax);
      events.onLost(retryInMs);
      // jitter: all pages lose the same Sidekick at once
      setTimeout(open, retryInMs * (0.75 + Math.random() / 2));
    });
  };
  open();
}
