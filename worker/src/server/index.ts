// The app server's connection to Sidekick, in place of `httpServerToSidekick`. Covenant's server
// does not wait for an update, and ignores an error of a token's registration. So this connection
// keeps a serverless platform awake until an update has arrived, tries again while Sidekick
// restarts, and throws if a registration fails.
import ION from "@covenant-rpc/ion";

/** The waits before the tries of one POST. */
const WAITS_MS = [0, 200, 800, 3000];
/** Sidekick answers a wrong secret only after its `auth_failure_delay_ms`, 3 s by default. */
const TRY_MS = 3000;
/** Limit of names that wait for the next update. */
const LATE_MAX = 1000;

export interface SidekickServerOptions {
  /**
   * Keeps the process awake until the promise settles. Vercel, Workers and Next.js have one. Where
   * it throws, as outside a request, the work is done without it.
   */
  waitUntil?: (work: Promise<unknown>) => void;
  /**
   * Called with the resources whose update failed. The next update sends them again, unless
   * Sidekick rejected them.
   */
  onLost?: (resources: string[]) => void;
}

/** Equals `ServerToSidekickConnection` of `@covenant-rpc/core`. */
export interface SidekickServer {
  /**
   * @returns null
   * @throws Error if the token is not registered, so that no client gets it
   */
  addConnection(payload: {
    token: string;
    channel: string;
    params: Record<string, string>;
    context?: unknown;
  }): Promise<null>;
  /** Never rejects. */
  update(resources: string[]): Promise<Error | null>;
  /** Never rejects. Retried only if the connection was refused: a message must not arrive twice. */
  postMessage(message: {
    channel: string;
    params: Record<string, string>;
    data?: unknown;
  }): Promise<Error | null>;
}

/**
 * @param url of the Sidekick, with its path
 * @param secret Sidekick's, not that of the app server
 */
export function sidekickServer(
  url: string,
  secret: string,
  options: SidekickServerOptions = {},
): SidekickServer {
  return new HttpSidekick(url.replace(/\/+$/, ""), secret, options);
}

/** canRepeat: "safely" if Sidekick cannot have received the POST. */
interface Failure {
  readonly error: Error;
  readonly canRepeat: "always" | "safely" | "never";
}

class HttpSidekick implements SidekickServer {
  readonly #url: string;
  readonly #secret: string;
  readonly #options: SidekickServerOptions;
  /** Resources whose update failed: they go with the next one. */
  readonly #late = new Set<string>();

  constructor(url: string, secret: string, options: SidekickServerOptions) {
    this.#url = url;
    this.#secret = secret;
    this.#options = options;
  }

  async addConnection(payload: object): Promise<null> {
    // Safe to repeat: registering a free token again replaces it.
    const failure = await this.#postUntil("/connection", payload, "always");
    if (failure !== null) throw failure.error;
    return null;
  }

  update(resources: string[]): Promise<Error | null> {
    return this.#awake(this.#update(resources));
  }

  postMessage(message: object): Promise<Error | null> {
    const posted = this.#postUntil("/message", message, "safely");
    return this.#awake(posted.then((failure) => failure?.error ?? null));
  }

  async #update(resources: string[]): Promise<Error | null> {
    const names = [...new Set([...this.#late, ...resources])];
    this.#late.clear();
    const failure = await this.#postUntil("/resources", { resources: names }, "always");
    if (failure === null) return null;
    // Names that Sidekick has refused would make the next update fail, too.
    if (failure.canRepeat !== "never")
      for (const name of names) if (this.#late.size < LATE_MAX) this.#late.add(name);
    try {
      this.#options.onLost?.(names);
    } catch (error) {
      return new Error(`${failure.error.message}; and onLost failed: ${error}`);
    }
    return failure.error;
  }

  #awake<T>(work: Promise<T>): Promise<T> {
    try {
      this.#options.waitUntil?.(work);
    } catch {}
    return work;
  }

  /** @param repeat "safely": only if Sidekick cannot have received it */
  async #postUntil(
    path: string,
    payload: object,
    repeat: "always" | "safely",
  ): Promise<Failure | null> {
    let failure: Failure | null = null;
    for (const waitMs of WAITS_MS) {
      // The first try starts at once: without `waitUntil`, the process may soon be frozen.
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      failure = await this.#post(path, payload);
      if (failure?.canRepeat !== "safely" && failure?.canRepeat !== repeat) break;
    }
    return failure;
  }

  async #post(path: string, payload: object): Promise<Failure | null> {
    const failed = (canRepeat: Failure["canRepeat"], reason: string): Failure => ({
      error: new Error(`Sidekick: POST ${path} failed: ${reason}`),
      canRepeat,
    });
    try {
      const response = await fetch(this.#url + path, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.#secret}` },
        body: ION.stringify(payload),
        signal: AbortSignal.timeout(TRY_MS),
      });
      const text = await response.text();
      if (response.ok) return null;
      if (response.status === 401) return failed("never", "the secret is wrong (401)");
      const isTemporary = response.status >= 500 || response.status === 429;
      return failed(isTemporary ? "always" : "never", `${response.status}: ${text.slice(0, 200)}`);
    } catch (error) {
      if ((error as Error).name === "TimeoutError")
        return failed(
          "always",
          `no answer within ${TRY_MS} ms: Sidekick is unreachable at ${this.#url}, ` +
            "or the secret is wrong (Sidekick delays that answer)",
        );
      return failed(isRefused(error) ? "safely" : "always", reasonOf(error));
    }
  }
}

/** Nothing was sent. Node, Bun and Deno each say it in their own way. */
function isRefused(error: unknown): boolean {
  const { code = "", message = "", cause } = error as NodeJS.ErrnoException & { cause?: unknown };
  return /refused/i.test(`${code} ${message}`) || (cause !== undefined && isRefused(cause));
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  if (!(cause instanceof Error)) return message;
  // Several addresses, none of which was reached: the error of them all has a code only.
  return `${message}: ${cause.message || (cause as NodeJS.ErrnoException).code}`;
}
