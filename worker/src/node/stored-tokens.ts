// The hub's token records, kept for the hub that replaces it after a trap. Keys and records are
// bytes in latin1 strings, which is compact.
import type {
  EraseTokenAction,
  PutTokenAction,
  RestoreTokenInput,
  TouchTokenAction,
} from "../module/border.generated.js";

interface StoredToken {
  state: number;
  expires_at: number;
  readonly record: string;
}

export class StoredTokens {
  readonly #tokens = new Map<string, StoredToken>();

  put({ key, state, expires_at, record }: PutTokenAction): void {
    this.#tokens.set(latin1(key), { state, expires_at, record: latin1(record) });
  }

  touch({ key, state, expires_at }: TouchTokenAction): void {
    const token = this.#tokens.get(latin1(key));
    if (token !== undefined) Object.assign(token, { state, expires_at });
  }

  erase({ key }: EraseTokenAction): void {
    this.#tokens.delete(latin1(key));
  }

  clear(): void {
    this.#tokens.clear();
  }

  /** The inputs that restore a new hub. */
  *inputs(): Generator<RestoreTokenInput & { readonly key: Buffer }> {
    for (const [key, { state, expires_at, record }] of this.#tokens) {
      yield { type: "restore_token", state, expires_at, key: bytes(key), record: bytes(record) };
    }
  }
}

export function latin1(view: Uint8Array): string {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("latin1");
}

export function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
