// Makes recordings with a real hub: each call is one input.

import { Recording } from "../../../worker/inspector/recording.ts";
import type { Action, Input } from "../../../worker/src/module/border.generated.ts";
import { compileModuleSync, Hub, text } from "../../../worker/src/module/hub.ts";
import { moduleBytes } from "./page.ts";

const SECRET = "secret-of-the-tests";
const module = compileModuleSync(moduleBytes);

export class Recorder {
  now = 1_790_000_000_000;
  readonly #hub: Hub;
  #text: string;
  #requests = 0;

  constructor(config: Record<string, unknown> = {}) {
    this.#hub = Hub.create(
      module,
      JSON.stringify({ hash_seed: "0123456789abcdef", secrets: [SECRET], ...config }),
    );
    this.#text = `${text(this.#hub.describe())}\n`;
    this.#hub.record(true);
  }

  /** Starts the hub, with nothing to restore. */
  begin(): this {
    this.input({ type: "begin", epoch: 77 });
    this.input({ type: "restored" });
    return this;
  }

  /** Returns the number of its line, from 1. */
  input(input: Input): number {
    const line = this.#text.split("\n").length;
    this.#hub.handle(this.now, input);
    this.#text += text(this.#hub.recorded());
    return line;
  }

  open(client: number): number {
    return this.input({ type: "client_opened", client });
  }

  close(client: number): number {
    return this.input({ type: "client_closed", client });
  }

  frame(client: number, message: unknown): number {
    return this.input({ type: "client_frame", client, bytes: JSON.stringify(message), is_text: 1 });
  }

  post(path: string, body: unknown, secret = SECRET): number {
    const bytes = typeof body === "string" ? body : JSON.stringify(body);
    return this.input({
      ...{ type: "http_request", request: ++this.#requests, body_bytes: Buffer.byteLength(bytes) },
      ...{ method: "POST", path, authorization: `Bearer ${secret}`, body: bytes, headers: "" },
    });
  }

  /** Registers a token, and lets the client subscribe with it. */
  subscribe(client: number, token: string, params: Record<string, string>): number {
    this.register(token, params);
    return this.frame(client, { type: "subscribe", token });
  }

  register(token: string, params: Record<string, string>): number {
    return this.post("/connection", { token, channel: "chat", params });
  }

  publish(params: Record<string, string>, data: unknown = "hi"): number {
    return this.post("/message", { channel: "chat", params, data });
  }

  /** Adds a line that no hub wrote. */
  line(line: string): void {
    this.#text += `${line}\n`;
  }

  /** The latest action of this kind. */
  latest(out: Action["type"]): Record<string, unknown> {
    const lines = this.#text.split("\n").filter((line) => line.startsWith(`{"out":"${out}"`));
    return JSON.parse(lines.at(-1)!) as Record<string, unknown>;
  }

  get text(): string {
    return this.#text;
  }

  recording(): Recording {
    return recordingOf(this.#text);
  }
}

export function recordingOf(text: string | Buffer): Recording {
  const recording = new Recording();
  recording.add(Buffer.from(text));
  recording.end();
  return recording;
}
