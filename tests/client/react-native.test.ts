// The client with React Native's globals, in Node: all that is shown about React Native. Its
// JavaScript has no events of a page, no document, no crypto, no TextEncoder, no iterator helpers,
// and a URL that cannot be read.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { WebSocket } from "ws";
import type { connectSidekick as Connect, State } from "../../worker/src/client/index.ts";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import {
  eventually,
  registerToken,
  request,
  startTestSidekick,
} from "../hosts/shared/support/sidekick.ts";

after(closeEverything);

/** Of what React Native sets up, that which a client could use. */
function reactNativeGlobals(): Record<string, unknown> {
  class IncompleteURL {
    readonly href: string;
    constructor(url: string) {
      this.href = url;
    }
    get host(): never {
      throw new Error("URL.host is not implemented");
    }
    get pathname(): never {
      throw new Error("URL.pathname is not implemented");
    }
    get protocol(): never {
      throw new Error("URL.protocol is not implemented");
    }
    get searchParams(): never {
      throw new Error("URL.searchParams is not implemented");
    }
  }
  return {
    ...{ setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask, console },
    ...{ performance: { now: () => performance.now() }, AbortController, WebSocket },
    ...{ URL: IncompleteURL, navigator: { product: "ReactNative" } },
  };
}

/** The module, evaluated where nothing else is global. */
async function loadIn(globals: Record<string, unknown>): Promise<typeof Connect> {
  const entry = fileURLToPath(new URL("../../worker/src/client/index.ts", import.meta.url));
  const flags = { bundle: true, write: false, format: "iife", globalName: "client" } as const;
  const { outputFiles } = await build({ entryPoints: [entry], ...flags, target: "es2020" });
  const context = createContext(globals);
  runInContext("var window = globalThis, global = globalThis, self = globalThis;", context);
  runInContext("Math.random = () => 0.999;", context); // random waits are as long as they can be
  runInContext("if ('Iterator' in globalThis) delete Iterator.prototype.filter;", context);
  runInContext(outputFiles[0]!.text, context);
  return (globals["client"] as { connectSidekick: typeof Connect }).connectSidekick;
}

test("with React Native's globals it connects, and `wake` ends the wait for the next try", async () => {
  const hub = await startTestSidekick();
  const connectSidekick = await loadIn(reactNativeGlobals());
  /** Its network can break. */
  class Socket extends WebSocket {
    static latest: WebSocket;
    constructor() {
      super(`ws://127.0.0.1:${hub.port}/socket`);
      Socket.latest = this;
    }
  }
  const wait = { baseMs: 1e6, capMs: 1e6 };
  const sidekick = connectSidekick(`http://127.0.0.1:${hub.port}`, { WebSocket: Socket, ...wait });
  const states: State[] = [];
  const messages: unknown[] = [];
  sidekick.on("state", (state) => states.push(state));
  sidekick.onMessage((message) => messages.push(message));

  await registerToken(hub.port, "token", "chat", { room: "1" });
  sidekick.sendMessage({ type: "subscribe", token: "token" });
  sidekick.sendMessage({ type: "listen", resources: ["todos"] });
  await eventually(() => messages.some((it) => (it as { type: string }).type === "subscribed"));

  Socket.latest.terminate();
  await eventually(() => sidekick.state.name === "waiting");
  messages.length = 0;
  sidekick.wake(); // the app does, from AppState
  await eventually(() => messages.some((it) => (it as { type: string }).type === "subscribed"));
  messages.length = 0;
  await request(hub.port, "/resources", JSON.stringify({ resources: ["todos"] }));
  await eventually(() => messages.some((it) => (it as { type: string }).type === "updated"));

  sidekick.disconnect();
  assert.deepEqual(
    states.map(({ name }) => name),
    [
      ...["connecting", "greeting", "live", "waiting"],
      ...["connecting", "greeting", "live", "closed"],
    ],
  );
});
