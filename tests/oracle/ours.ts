// Our side: the module and a minimal host, on a clock that only the conversation moves.
import { readFileSync } from "node:fs";
import type { Action, Input } from "../../worker/src/module/index.ts";
import { compileModuleSync, Hub, Outcome, text } from "../../worker/src/module/index.ts";
import { readDefaultModule } from "../../worker/src/node/default-module.ts";
import type { Step } from "./script.ts";
import { readable, Seen } from "./seen.ts";

/** SIDEKICK_MODULE, or the module in the package. */
const path = process.env["SIDEKICK_MODULE"];
const ordinary = path === undefined ? readDefaultModule() : compileModuleSync(readFileSync(path));
const secret = "oracle";

/**
 * The errors that both sides have, worded differently by each; any other text is the app server's
 * own.
 */
const wordings: readonly (readonly [RegExp, string])[] = [
  [/^invalid token: /, "<invalid token>"],
  [/^the token was issued for another channel or other params$/, "<other channel>"],
  [/^the app server did not answer within /, "<timed out>"],
  [/^the app server (could not be reached|answered \d+; expected 2xx)/, "<server failed>"],
  [
    /^(not valid ION: |expected |missing member |duplicate (member|param) |"\w+" (must |has )|(value of )?param .* (must |has )|resources\[\d+\] (must |has ))/s,
    "<malformed>",
  ],
];

export interface Sent {
  /** "client 1", or "app server" */
  readonly to: string;
  readonly bytes: Uint8Array;
}

/**
 * The stage between our module and everything else, for the messages of one step: bugs are injected
 * here.
 */
export type Deliver = (messages: readonly Sent[]) => readonly Sent[];

export class Ours {
  readonly #hub: Hub;
  readonly #deliver: Deliver;
  readonly #clients = new Set<number>();
  readonly #open: { readonly id: number; readonly deadline: number }[] = [];
  #now = 1_700_000_000_000;
  #timerAt = 0;
  #seen = new Seen();
  #sent: Sent[] = [];

  /** @param limits limits that differ from their defaults, as in docs/protocol.md */
  constructor(
    deliver: Deliver = (messages) => messages,
    limits: Readonly<Record<string, number>> = {},
    module = ordinary,
  ) {
    this.#hub = Hub.create(
      module,
      JSON.stringify({ ...limits, secrets: [secret], hash_seed: "0123456789abcdef" }),
    );
    this.#deliver = deliver;
  }

  play(step: Step): string {
    this.#seen = new Seen();
    this.#sent = [];
    // Never two steps at the same time: the order of simultaneous deadlines is unspecified.
    this.#now += step.do === "wait" ? step.ms + 1 : 1;
    if (step.do === "close" && this.#clients.delete(step.client))
      this.#handle({ type: "client_closed", client: step.client });
    this.#expire();
    if (step.do === "open") {
      this.#clients.add(step.client);
      this.#handle({ type: "client_opened", client: step.client });
    }
    if (step.do === "frame" && this.#clients.has(step.client))
      this.#handle({ type: "client_frame", client: step.client, bytes: step.text, is_text: 1 });
    if (step.do === "post") {
      const body = Buffer.from(step.body);
      this.#handle({
        type: "http_request",
        request: 1,
        method: "POST",
        path: step.path,
        authorization: `Bearer ${secret}`,
        headers: "",
        body_bytes: body.length,
        body,
      });
    }
    if (step.do === "answer") {
      const [forward] = this.#open.splice(step.forward % (this.#open.length || 1), 1);
      if (forward !== undefined)
        this.#handle({
          type: "forward_done",
          forward: forward.id,
          status: step.status,
          body: step.body,
          outcome: Outcome.answered,
        });
    }
    for (const { to, bytes } of this.#deliver(this.#sent))
      this.#seen.to(to, to === "app server" ? readable(bytes) : readable(bytes, worded));
    return this.#seen.text();
  }

  /** Fires the timer and times out forwards, as a host does. */
  #expire(): void {
    const stillOpen = this.#open.filter(({ deadline }) => deadline > this.#now);
    this.#open.splice(0, Infinity, ...stillOpen);
    while (this.#timerAt !== 0 && this.#timerAt <= this.#now) {
      this.#timerAt = 0;
      this.#handle({ type: "timer_fired" });
    }
  }

  #handle(input: Input): void {
    let actions: readonly Action[] = [];
    try {
      actions = this.#hub.handle(this.#now, input);
    } catch (error) {
      this.#seen.to("process", `ends: ${String(error)}`);
    }
    for (const action of actions) this.#perform(action);
  }

  #perform(action: Action): void {
    switch (action.type) {
      case "send":
        for (const client of action.clients)
          this.#sent.push({ to: `client ${client}`, bytes: action.text.slice() });
        return;
      case "respond":
        this.#seen.to("response", String(action.status));
        return;
      case "forward":
        this.#open.push({ id: action.forward, deadline: this.#now + action.timeout_ms });
        this.#sent.push({ to: "app server", bytes: action.body.slice() });
        return;
      case "close":
        this.#seen.to(`client ${action.client}`, `closed ${action.code} ${text(action.reason)}`);
        return;
      case "set_timer":
        this.#timerAt = action.at_ms;
        return;
      case "cancel_forward":
        this.#open.splice(0, Infinity, ...this.#open.filter(({ id }) => id !== action.forward));
        return;
      case "put_token":
      case "touch_token":
      case "erase_token":
      case "attach_client":
        return; // nothing outlives the conversation
      case "engine_run":
      case "engine_join":
      case "engine_leave":
        throw new Error(`expected no ${action.type}: there is no engine`);
    }
  }
}

function worded(message: string): string {
  return wordings.find(([pattern]) => pattern.test(message))?.[1] ?? message;
}
