// The stateless Worker in front of the object. A hub in the Worker answers every request that needs
// no state, above all those with a wrong bearer token. So no HTTP request without the secret wakes
// the object, except GET /ready. The Worker waits before the answer if the hub says so.
//
// With shards, there are several objects that hold sockets: gateways. A POST goes to the shards.
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
  misconfigured,
  plainResponse,
  responseOf,
} from "./http.js";
import { logError, logTold } from "./log.js";
import { Publisher } from "./publisher.js";
import type { Place } from "./scale.js";
import { GATEWAY_HEADER, gatewayStub, shardsOf } from "./scale.js";
import type { Env, Scale } from "./settings.js";
import { CONTINENT_OF, hubNameOf, readSettings } from "./settings.js";

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    if (!URL.canParse(request.url))
      return plainResponse(400, "Bad Request: expected a Host header with a hostname");
    try {
      const name = hubNameOf(env, new URL(request.url).hostname);
      if (name === undefined)
        return plainResponse(404, "Not Found: no Sidekick has this hostname (SIDEKICK_HUBS)");
      return await answer(request, env, name, ctx);
    } catch (error) {
      if (error instanceof ConfigError) return misconfigured(error);
      logError("a request failed", error);
      if (!(error instanceof ModuleTrap)) return unreachable();
      fronts.clear();
      return broken();
    }
  },
} satisfies ExportedHandler<Env>;

const unreachable = () =>
  plainResponse(503, "Service Unavailable: the Sidekick could not be reached; try again");

interface Front {
  readonly hub: HubLike;
  readonly hasTrace: boolean;
  readonly scaled: Scaled | undefined;
}

interface Scaled {
  readonly scale: Scale;
  readonly publisher: Publisher;
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
  const { scale } = settings;
  if (scale) shardsOf(env);
  const scaled = scale && { scale, publisher: new Publisher(env, name, settings, scale) };
  const front = { hub, hasTrace: settings.traceBytesMax > 0, scaled };
  fronts.set(name, front);
  return front;
}

async function answer(
  request: Request,
  env: Env,
  name: string,
  ctx: ExecutionContext,
): Promise<Response> {
  const { hub, hasTrace, scaled } = frontOf(env, name);
  const object = scaled ? gatewayAsked(env, name, scaled.scale) : env.SIDEKICK.getByName(name);
  let input = inputOf(request);
  // A secret that allows posting allows reading the trace. Others are rejected in the same way.
  const isTraceAsked = hasTrace && isTrace(request);
  if (isTraceAsked) input = { ...input, method: "POST", path: "/message" };
  const { kind, bodyBytesMax } = hub.admit(input);
  if (kind === VerdictKind.answer) return ownAnswer(hub, input);
  if (kind === VerdictKind.socket)
    return !isUpgrade(request)
      ? ownAnswer(hub, input)
      : scaled
        ? opened(request, env, name, scaled.scale)
        : object.fetch(request);
  if (request.headers.has("Upgrade")) request = withoutUpgrade(request);
  if (kind !== VerdictKind.body || isTraceAsked) return object.fetch(request);
  if (input.body_bytes > bodyBytesMax) return ownAnswer(hub, input);
  if (scaled) {
    const body = await readBody(request, bodyBytesMax).catch(() => undefined);
    if (body === undefined) return brokenOff();
    const isTooLarge = typeof body === "number";
    const whole = isTooLarge ? { body_bytes: body } : { body_bytes: body.byteLength, body };
    return scaled.publisher.answer({ ...input, ...whole }, ctx);
  }
  // Passed on as a stream, so that its bytes do not pass through here: the sender has the secret.
  if (request.headers.has("Content-Length")) return object.fetch(request);
  const body = await readBody(request, bodyBytesMax).catch(() => undefined);
  if (body === undefined) return brokenOff();
  return typeof body === "number"
    ? ownAnswer(hub, { ...input, body_bytes: body })
    : object.fetch(request, { body });
}

/** Answers requests that concern no client: the gateway in the query, or else the first. */
function gatewayAsked(env: Env, hub: string, scale: Scale): Pick<Fetcher, "fetch"> {
  return {
    async fetch(request: Request): Promise<Response> {
      const asked = new URL(request.url).searchParams.get("gateway") ?? "0";
      const number = Number(asked);
      if (/^\d+$/.test(asked) && number < scale.gateways)
        return askGateway(request, env, { hub, number }, scale);
      const last = scale.gateways - 1;
      return plainResponse(400, `Bad Request: expected a gateway from 0 to ${last}`);
    },
  };
}

function askGateway(request: Request, env: Env, place: Place, scale: Scale): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.set(GATEWAY_HEADER, String(place.number));
  return gatewayStub(env, place, scale).fetch(new Request(request, { headers }));
}

const DRAWS_MAX = 3;

/** Picks a random gateway, on the client's continent if there is one; if it is full, another. */
async function opened(request: Request, env: Env, hub: string, scale: Scale): Promise<Response> {
  let answer: Response | undefined;
  const all = Array.from({ length: scale.gateways }, (_, number) => number);
  const continent = (request.cf as IncomingRequestCfProperties | undefined)?.continent;
  const near = all.filter((number) => continentOf(number, scale) === continent);
  const drawn = new Set<number>();
  for (let draws = 0; draws < Math.min(DRAWS_MAX, scale.gateways); draws++) {
    const left = [near, all].map((some) => some.filter((number) => !drawn.has(number)));
    const from = left[0]!.length > 0 ? left[0]! : left[1]!;
    const number = from[Math.floor(Math.random() * from.length)]!;
    drawn.add(number);
    answer = await askGateway(request, env, { hub, number }, scale).catch((error: unknown) => {
      logError("a gateway failed", error, { hub, gateway: String(number) });
      return undefined;
    });
    if (answer !== undefined && answer.status !== 503) return answer;
  }
  return answer ?? unreachable();
}

function continentOf(gateway: number, { locations }: Scale): string | undefined {
  const location = locations[gateway % locations.length];
  return location && CONTINENT_OF[location];
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
