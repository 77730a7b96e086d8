// The stateless Worker in front of the object. A hub in the Worker answers every request that needs
// no state, above all those with a wrong bearer token. So no HTTP request without the secret wakes
// the object, except GET /ready. The Worker waits before the answer if the hub says so.
import type { HttpRequestInput } from "../module/border.generated.js";
import { VerdictKind } from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";
import { ConfigError, ModuleTrap } from "../module/hub.js";
import { randomDigits, randomEpoch } from "../session/random.js";
import { joined } from "./bytes.js";
import { createHub } from "./create-hub.js";
import {
  broken,
  brokenOff,
  inputOf,
  isTrace,
  isUpgrade,
  plainResponse,
  responseOf,
} from "./http.js";
import { logError, logTold } from "./log.js";
import type { Env } from "./settings.js";
import { hubNameOf, readSettings } from "./settings.js";

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (!URL.canParse(request.url))
      return plainResponse(400, "Bad Request: expected a Host header with a hostname");
    try {
      const name = hubNameOf(env, new URL(request.url).hostname);
      if (name === undefined)
        return plainResponse(404, "Not Found: no Sidekick has this hostname (SIDEKICK_HUBS)");
      return await answer(request, env, name);
    } catch (error) {
      logError("a request failed", error);
      if (error instanceof ConfigError)
        return plainResponse(
          500,
          "This Sidekick is not configured; its log names the missing setting",
        );
      if (!(error instanceof ModuleTrap))
        return plainResponse(
          503,
          "Service Unavailable: the Sidekick could not be reached; try again",
        );
      fronts.clear();
      return broken();
    }
  },
} satisfies ExportedHandler<Env>;

interface Front {
  readonly hub: HubLike;
  readonly hasTrace: boolean;
}

/**
 * By the hub's name, for the lifetime of this isolate. Settings cannot change meanwhile: each
 * deployment gets new isolates.
 */
const fronts = new Map<string, Front>();

function frontOf(env: Env, name: string): Front {
  const known = fronts.get(name);
  if (known !== undefined) return known;
  const settings = readSettings(env, name);
  const hub = createHub(settings, randomDigits());
  hub.handle(Date.now(), { type: "begin", epoch: randomEpoch() });
  hub.handle(Date.now(), { type: "restored" });
  const front = { hub, hasTrace: settings.traceBytesMax > 0 };
  fronts.set(name, front);
  return front;
}

async function answer(request: Request, env: Env, name: string): Promise<Response> {
  const { hub, hasTrace } = frontOf(env, name);
  const object = env.SIDEKICK.getByName(name);
  let input = inputOf(request);
  // A secret that allows posting allows reading the trace. Others are rejected in the same way.
  const isTraceAsked = hasTrace && isTrace(request);
  if (isTraceAsked) input = { ...input, method: "POST", path: "/message" };
  const { kind, bodyBytesMax } = hub.admit(input);
  if (kind === VerdictKind.answer) return ownAnswer(hub, input);
  if (kind === VerdictKind.socket)
    return isUpgrade(request) ? object.fetch(request) : ownAnswer(hub, input);
  if (request.headers.has("Upgrade")) request = withoutUpgrade(request);
  if (kind !== VerdictKind.body || isTraceAsked) return object.fetch(request);
  if (input.body_bytes > bodyBytesMax) return ownAnswer(hub, input);
  // Passed on as a stream, so that its bytes do not pass through here: the sender has the secret.
  if (request.headers.has("Content-Length")) return object.fetch(request);
  const body = await readBody(request, bodyBytesMax).catch(() => undefined);
  if (body === undefined) return brokenOff();
  return typeof body === "number"
    ? ownAnswer(hub, { ...input, body_bytes: body })
    : object.fetch(request, { body });
}

/** An upgrade that is not wanted is ignored (RFC 9110, section 7.8). */
function withoutUpgrade(request: Request): Request {
  const headers = new Headers(request.headers);
  headers.delete("Upgrade");
  return new Request(request, { headers });
}

/** The answer of the Worker's own hub, which has no clients and no tokens. */
async function ownAnswer(hub: HubLike, input: HttpRequestInput): Promise<Response> {
  for (const action of hub.handle(Date.now(), input)) {
    if (action.type !== "respond") continue;
    const { code, delay_ms, status } = action;
    logTold("rejected a request", code, { status });
    const response = responseOf(action);
    if (delay_ms > 0) await scheduler.wait(delay_ms);
    return response;
  }
  return broken();
}

/** A body of unknown size. If it is larger than `bytesMax`, its size as counted so far. */
async function readBody(request: Request, bytesMax: number): Promise<Uint8Array | number> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return bytes;
  }
  return joined(chunks);
}
