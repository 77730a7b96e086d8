// The stateless Worker in front of the object. A hub in the Worker answers every request that needs
// no state, above all those with a wrong bearer token, so an HTTP request without the secret never
// wakes the object. The Worker waits before the answer if the hub says so.
import type { HttpRequestInput } from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { ConfigError, ModuleTrap } from "../module/hub.js";
import { joined } from "./bytes.js";
import { createHashSeed, createHub } from "./create-hub.js";
import type { HttpAnswer } from "./http.js";
import {
  answerOf,
  BROKEN,
  BROKEN_OFF,
  isTrace,
  isUpgrade,
  plainAnswer,
  responseOf,
} from "./http.js";
import type { HttpRequest } from "./object.js";
import type { Env, HubSettings } from "./settings.js";
import { hubNameOf, readSettings } from "./settings.js";

const NOTHING = new Uint8Array(0);

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (!URL.canParse(request.url))
      return responseOf(plainAnswer(400, "Bad Request: expected a Host header with a hostname"));
    try {
      const name = hubNameOf(env, new URL(request.url).hostname);
      if (name === undefined)
        return responseOf(
          plainAnswer(404, "Not Found: no Sidekick has this hostname (SIDEKICK_HUBS)"),
        );
      return await new Front(env, name).answer(request);
    } catch (error) {
      console.error(error);
      if (error instanceof ConfigError)
        return responseOf(
          plainAnswer(500, "This Sidekick is not configured; its log names the missing setting"),
        );
      if (error instanceof ModuleTrap) {
        fronts.clear();
        return responseOf(BROKEN);
      }
      return responseOf(
        plainAnswer(503, "Service Unavailable: the Sidekick could not be reached; try again"),
      );
    }
  },
} satisfies ExportedHandler<Env>;

interface Kept {
  readonly settings: HubSettings;
  readonly hub: HubLike;
}

/**
 * By the hub's name, for the lifetime of this isolate. Settings cannot change meanwhile: each
 * deployment gets new isolates.
 */
const fronts = new Map<string, Kept>();

class Front {
  readonly #env: Env;
  readonly #name: string;
  readonly #hub: HubLike;
  readonly #settings: HubSettings;

  constructor(env: Env, name: string) {
    let kept = fronts.get(name);
    if (kept === undefined) {
      const settings = readSettings(env, name);
      kept = { settings, hub: createHub(settings, createHashSeed()) };
      fronts.set(name, kept);
    }
    this.#env = env;
    this.#name = name;
    this.#hub = kept.hub;
    this.#settings = kept.settings;
  }

  async answer(request: Request): Promise<Response> {
    if (isUpgrade(request)) return this.#upgrade(request);
    const { pathname, search } = new URL(request.url);
    const authorization = request.headers.get("Authorization") ?? "";
    if (isTrace(request) && this.#settings.traceBytesMax > 0)
      return this.#trace(request, authorization);
    const asked: HttpRequest = {
      method: request.method,
      path: pathname + search,
      authorization,
      body: NOTHING,
    };
    const bytesMax = this.#hub.bodyBytesMax(asked.method, asked.path, authorization);
    if (bytesMax === 0) {
      const isHealth =
        pathname === "/health" && (asked.method === "GET" || asked.method === "HEAD");
      return isHealth && this.#isAuthorized(authorization)
        ? this.#object().fetch(request)
        : this.#delayed(this.#ask(asked, 0));
    }
    const declared = request.headers.get("Content-Length");
    // Passed on as a stream, so that its bytes do not pass through here: the sender has the secret.
    if (declared !== null && Number(declared) <= bytesMax) return this.#object().fetch(request);
    const body =
      declared === null
        ? await readBody(request, bytesMax).catch(() => undefined)
        : Number(declared);
    if (body === undefined) return responseOf(BROKEN_OFF);
    return typeof body === "number"
      ? this.#delayed(this.#ask(asked, body))
      : this.#object().fetch(request, { body });
  }

  /** The answer of the Worker's own hub, which has no clients and no tokens. */
  #ask(asked: HttpRequest, bodyBytes: number): HttpAnswer {
    const input: HttpRequestInput = {
      type: "http_request",
      request: 1,
      body_bytes: Math.min(bodyBytes, 0xffffffff),
      ...asked,
    };
    for (const action of this.#hub.handle(Date.now(), input)) {
      if (action.type === "respond") return answerOf(action);
    }
    return BROKEN;
  }

  async #delayed(answer: HttpAnswer): Promise<Response> {
    if (answer.delayMs > 0) await scheduler.wait(answer.delayMs);
    return responseOf(answer);
  }

  #upgrade(request: Request): Promise<Response> | Response {
    const { allowedOrigins } = this.#settings;
    const origin = request.headers.get("Origin");
    if (allowedOrigins !== undefined && (origin === null || !allowedOrigins.includes(origin))) {
      return responseOf(
        plainAnswer(403, "Forbidden: this origin may not open a socket (SIDEKICK_ALLOWED_ORIGINS)"),
      );
    }
    return this.#object().fetch(request);
  }

  #trace(request: Request, authorization: string): Promise<Response> {
    // Rejected like any other request with a wrong bearer token.
    return this.#isAuthorized(authorization)
      ? this.#object().fetch(request)
      : this.#delayed(this.#ask({ ...A_POST, authorization }, 0));
  }

  #isAuthorized(authorization: string): boolean {
    return this.#hub.bodyBytesMax(A_POST.method, A_POST.path, authorization) > 0;
  }

  #object() {
    return this.#env.SIDEKICK.getByName(this.#name);
  }
}

/** A request that requires the right bearer token. */
const A_POST: HttpRequest = { method: "POST", path: "/message", authorization: "", body: NOTHING };

/** A body of unknown size. If it is larger than `bytesMax`, its size as counted so far. */
async function readBody(request: Request, bytesMax: number): Promise<Uint8Array | number> {
  if (request.body === null) return NOTHING;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return bytes;
  }
  return joined(chunks);
}
