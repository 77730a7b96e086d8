// The wrapper around the connection to the app server. It knows when each query began, orders
// identical queries of which an update caused one, so that an older answer never replaces a newer
// one, and remembers the request for each token.
import ION from "@covenant-rpc/ion";
import type { Moment } from "./hub-clock.js";
import { moment } from "./hub-clock.js";
import type {
  ConnectionRequest,
  ConnectionResponse,
  ProcedureRequest,
  ProcedureResponse,
  ServerConnection,
} from "./types.js";

const TOKENS_MAX = 1000;

/** The runs of one query. */
interface Flight {
  readonly running: Set<Promise<ProcedureResponse>>;
  latest?: Promise<ProcedureResponse>;
  /** The batch of updates that caused the latest. */
  batch?: object | undefined;
  waiting?: Promise<ProcedureResponse> | undefined;
  /** An update caused one of them: so it is a query, and may be shared. */
  isCaused: boolean;
}

export class Queries implements ServerConnection {
  readonly #server: ServerConnection;
  readonly #refetchMs: number;
  readonly #flights = new Map<string, Flight>();
  /** When each query began, by the array of resources in its answer. */
  readonly began = new WeakMap<object, Moment>();
  /** The request that returned each token. */
  readonly requests = new Map<string, ConnectionRequest>();
  #batch: object | undefined;

  constructor(server: ServerConnection, refetchMs: number) {
    this.#server = server;
    this.#refetchMs = refetchMs;
  }

  /** Queries that start within `emit` are caused by updates; the identical ones share one run. */
  inBatch(emit: () => unknown): void {
    this.#batch = {};
    emit();
    this.#batch = undefined;
  }

  async sendConnectionRequest(request: ConnectionRequest): Promise<ConnectionResponse> {
    const response = await this.#server.sendConnectionRequest(request);
    if (response.result.type === "OK") {
      this.requests.set(response.result.token, request);
      if (this.requests.size > TOKENS_MAX) this.requests.delete(this.requests.keys().next().value!);
    }
    return response;
  }

  async runProcedure(request: ProcedureRequest): Promise<ProcedureResponse> {
    const key = ION.stringify(request);
    const flight = this.#flights.get(key) ?? { running: new Set(), isCaused: false };
    this.#flights.set(key, flight);
    flight.isCaused ||= !!this.#batch;
    if (!flight.isCaused || flight.running.size === 0) return this.#start(request, key, flight);
    if (this.#batch && this.#batch === flight.batch) return flight.latest!;
    flight.waiting ??= within(Promise.allSettled(flight.running), this.#refetchMs).then(() => {
      flight.waiting = undefined;
      return this.#start(request, key, flight);
    });
    return flight.waiting;
  }

  #start(request: ProcedureRequest, key: string, flight: Flight): Promise<ProcedureResponse> {
    const run = this.#run(request);
    flight.running.add(run);
    flight.latest = run;
    flight.batch = this.#batch;
    const end = () => {
      flight.running.delete(run);
      if (flight.running.size === 0 && !flight.waiting) this.#flights.delete(key);
    };
    run.then(end, end);
    return run;
  }

  async #run(request: ProcedureRequest): Promise<ProcedureResponse> {
    const began = moment();
    const response: ProcedureResponse = await this.#server.runProcedure(request);
    if (response.status !== "OK") return response;
    // A copy: a server connection may return the same array each time.
    const resources = [...response.resources];
    this.began.set(resources, began);
    return { ...response, resources };
  }
}

/** Resolves when the work settles, at the latest after `ms`. Never rejects. */
export function within(work: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    work.then(end, end);
  });
}
