// The app server on virtual time: a database of versions, queries that read it some time before
// they answer, and a log of the messages that it accepted.
import ION from "@covenant-rpc/ion";

import type { ForwardResult } from "../../worker/src/session/outcome.ts";
import type { HubHost } from "./hub-host.ts";
import type { VirtualTime } from "./virtual-time.ts";

const nothing = new Uint8Array();
const answered = (status: number, body?: object): ForwardResult => ({
  ...{ outcome: "answered", status },
  body: body === undefined ? nothing : new TextEncoder().encode(ION.stringify(body)),
});

export class SimAppServer {
  readonly versions = new Map<string, number>();
  /** How often each message was accepted. */
  readonly accepted = new Map<string, number>();
  fetches = 0;
  /** The most runs of one query at a time. */
  atOnce = 0;
  /** The tokens that were issued. */
  tokens = 0;
  readonly #running = new Map<string, number>();
  readonly #time: VirtualTime;
  #hub: HubHost | undefined;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** The hub needs the app server, too. */
  connect(hub: HubHost): void {
    this.#hub = hub;
  }

  read(names: readonly string[]): string {
    return names.map((name) => this.versions.get(name) ?? 0).join();
  }

  /** Commits a change, then announces it: as often as it takes (`covenant-sidekick/server`). */
  async change(names: readonly string[]): Promise<void> {
    for (const name of names) this.versions.set(name, (this.versions.get(name) ?? 0) + 1);
    await this.#time.sleep(this.#time.dice.next() * 50);
    while ((await this.#hub!.post("/resources", { resources: names })) !== 200)
      await this.#time.sleep(200);
  }

  async publish(channel: string, params: Record<string, string>, data: unknown): Promise<boolean> {
    return (await this.#hub!.post("/message", { channel, params, data })) === 200;
  }

  /** For `serverConnection`. The inputs of a query are the resources that it reads. */
  readonly connection = {
    runProcedure: async ({ inputs }: { inputs: readonly string[] }) => {
      const { dice } = this.#time;
      this.fetches++;
      const query = inputs.join();
      const running = (this.#running.get(query) ?? 0) + 1;
      this.#running.set(query, running);
      this.atOnce = Math.max(this.atOnce, running);
      await this.#time.sleep(10 + dice.next() * 200);
      const data = this.read(inputs);
      await this.#time.sleep(10 + dice.next() * 400);
      this.#running.set(query, this.#running.get(query)! - 1);
      return { status: "OK" as const, data, resources: [...inputs] };
    },
    sendConnectionRequest: async (request: { channel: string; params: Record<string, string> }) => {
      const { channel, params } = request;
      const { dice } = this.#time;
      await this.#time.sleep(20 + dice.next() * 100);
      const token = `token-${++this.tokens}-of-the-app-server`;
      const status = await this.#hub!.post("/connection", {
        token,
        channel,
        params,
        context: null,
      });
      const message = `the Sidekick answered ${status}`;
      return status === 200
        ? { channel, params, result: { type: "OK" as const, token } }
        : {
            ...{ channel, params },
            result: {
              type: "ERROR" as const,
              error: { channel, params, fault: "server" as const, message },
            },
          };
    },
  };

  /** A message of a client. */
  readonly onMessage = async ({ data }: { data: unknown }): Promise<ForwardResult> => {
    const { dice } = this.#time;
    await this.#time.sleep(20 + dice.next() * 300);
    if (dice.chance(0.05)) return answered(400, { fault: "server", message: "no" });
    if (dice.chance(0.02)) return { outcome: "unreachable", status: 0, body: nothing };
    const isLost = dice.chance(0.03);
    if (!isLost || dice.chance(0.5))
      this.accepted.set(String(data), (this.accepted.get(String(data)) ?? 0) + 1);
    return isLost ? { outcome: "broken_off", status: 0, body: nothing } : answered(204);
  };
}
