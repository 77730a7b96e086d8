// The object's SQLite storage, which outlives its instances: settings, token records, client
// records that are too large for an attachment. Stores bytes without interpreting them.
//
// Tables are WITHOUT ROWID: Cloudflare bills a write per row and per index, and a table with its
// own key would otherwise have both.
import { ConfigError } from "../module/hub.js";
import type { ShardRow } from "../module/shard.js";
import { joined } from "./bytes.js";
import type { Scale } from "./settings.js";

const TABLES = `
  CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS token (key BLOB, part INTEGER, state INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (key, part)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS client (client INTEGER, part INTEGER, record BLOB NOT NULL,
    PRIMARY KEY (client, part)) WITHOUT ROWID;
`;

/** A row holds at most 2 MB. A larger record takes several rows. */
const PART_BYTES_MAX = 1 << 20;
/** Up to this size a row is rewritten together with what is appended to it. */
const GROWN_BYTES_MAX = 1 << 16;

export class Store {
  readonly tokens: TokenRows;
  readonly clients: ClientRows;
  readonly settings: Settings;

  constructor({ sql }: DurableObjectStorage) {
    sql.exec(TABLES);
    this.settings = new Settings(sql);
    this.tokens = new TokenRows(sql);
    this.clients = new ClientRows(sql);
  }
}

/** Short texts by name. */
export class Settings {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The stored value, or a new one that is stored. */
  settled(name: string, make: () => string): string {
    const stored = this.get(name);
    if (stored !== undefined) return stored;
    const value = make();
    this.#sql.exec("INSERT INTO setting VALUES (?, ?)", name, value);
    return value;
  }

  get(name: string): string | undefined {
    const sql = "SELECT value FROM setting WHERE name = ?";
    return this.#sql.exec<{ value: string }>(sql, name).toArray()[0]?.value;
  }

  put(name: string, value: string): void {
    this.#sql.exec("INSERT OR REPLACE INTO setting VALUES (?, ?)", name, value);
  }

  erase(name: string): void {
    this.#sql.exec("DELETE FROM setting WHERE name = ?", name);
  }

  /** Checks the number of shards, which cannot change: it decides the shard of each name. */
  checkShards({ shards, shardsSetting }: Scale): void {
    const stored = this.settled("shards", () => String(shards));
    if (stored === String(shards)) return;
    throw new ConfigError(
      `${shardsSetting}: expected ${stored}, which is stored and cannot change, got ${shards}`,
    );
  }

  /** The settings whose names begin with the prefix, by the rest of the name. */
  *startingWith(prefix: string): Generator<[string, string]> {
    const sql = "SELECT name, value FROM setting WHERE substr(name, 1, ?) = ?";
    const rows = this.#sql.exec<{ name: string; value: string }>(sql, prefix.length, prefix);
    for (const { name, value } of rows.toArray()) yield [name.slice(prefix.length), value];
  }
}

export interface TokenRow {
  readonly key: Uint8Array;
  readonly state: number;
  readonly expires_at: number;
  readonly record: Uint8Array;
}

export class TokenRows {
  readonly #sql: SqlStorage;
  /**
   * Whether any record may take several rows. Only then can a longer record have left rows behind.
   */
  #mayHaveParts = false;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  put({ key, state, expires_at, record }: TokenRow): void {
    const parts = partsOf(record);
    for (const [part, bytes] of parts.entries()) {
      this.#sql.exec(
        "INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?, ?)",
        blob(key),
        part,
        state,
        expires_at,
        blob(bytes),
      );
    }
    if (this.#mayHaveParts)
      this.#sql.exec("DELETE FROM token WHERE key = ? AND part >= ?", blob(key), parts.length);
    this.#mayHaveParts ||= parts.length > 1;
  }

  touch({ key, state, expires_at }: Omit<TokenRow, "record">): void {
    const touched = this.#sql.exec(
      "UPDATE token SET state = ?, expires_at = ? WHERE key = ? AND part = 0",
      state,
      expires_at,
      blob(key),
    );
    if (touched.rowsWritten === 0)
      throw new Error("the token has no row: storing it failed when it was registered");
  }

  erase(key: Uint8Array): void {
    this.#sql.exec("DELETE FROM token WHERE key = ?", blob(key));
  }

  eraseAll(): void {
    this.#sql.exec("DELETE FROM token");
  }

  /** Every token in ascending order of its key. The caller must not write during iteration. */
  *all(): Generator<TokenRow> {
    const rows = this.#sql
      .exec("SELECT key, part, state, expires_at, record FROM token ORDER BY key, part")
      .raw();
    let token:
      | { key: Uint8Array; state: number; expires_at: number; record: Uint8Array }
      | undefined;
    for (const [key, part, state, expiresAt, record] of rows as Iterable<unknown> as Iterable<
      [ArrayBuffer, number, number, number, ArrayBuffer]
    >) {
      const bytes = new Uint8Array(record);
      if (part > 0 && token !== undefined) {
        this.#mayHaveParts = true;
        token.record = joined([token.record, bytes]);
        continue;
      }
      if (token !== undefined) yield token;
      token = { key: new Uint8Array(key), state, expires_at: expiresAt, record: bytes };
    }
    if (token !== undefined) yield token;
  }
}

/** Records of clients that are too large for an attachment. */
export class ClientRows {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  put(client: number, record: Uint8Array): void {
    this.erase(client);
    for (const [part, bytes] of partsOf(record).entries())
      this.#sql.exec("INSERT INTO client VALUES (?, ?, ?)", client, part, blob(bytes));
  }

  append(client: number, more: Uint8Array): void {
    // Appends to the last row while that is short: each row is deleted one day, and the deletion is
    // billed.
    const added = this.#sql.exec(
      `UPDATE client SET record = CAST(record || ?2 AS BLOB)
         WHERE client = ?1 AND length(record) + length(?2) <= ?3
         AND part = (SELECT max(part) FROM client WHERE client = ?1)`,
      client,
      blob(more),
      GROWN_BYTES_MAX,
    );
    if (added.rowsWritten > 0) return;
    for (const bytes of partsOf(more)) {
      this.#sql.exec(
        "INSERT INTO client SELECT ?1, ifnull(max(part), -1) + 1, ?2 FROM client WHERE client = ?1",
        client,
        blob(bytes),
      );
    }
  }

  erase(client: number): void {
    this.#sql.exec("DELETE FROM client WHERE client = ?", client);
  }

  all(): Map<number, Uint8Array> {
    const parts = new Map<number, Uint8Array[]>();
    const rows = this.#sql.exec("SELECT client, record FROM client ORDER BY client, part").raw();
    for (const [client, record] of rows as Iterable<unknown> as Iterable<[number, ArrayBuffer]>) {
      const known = parts.get(client);
      if (known === undefined) parts.set(client, [new Uint8Array(record)]);
      else known.push(new Uint8Array(record));
    }
    return new Map([...parts].map(([client, records]) => [client, joined(records)]));
  }
}

const SHARD_TABLES = `
  CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS shard (key BLOB, part INTEGER, value BLOB NOT NULL,
    PRIMARY KEY (key, part)) WITHOUT ROWID;
`;

/** The rows of a shard. */
export class ShardRows {
  readonly settings: Settings;
  readonly #sql: SqlStorage;

  constructor({ sql }: DurableObjectStorage) {
    this.#sql = sql;
    sql.exec(SHARD_TABLES);
    this.settings = new Settings(sql);
  }

  write({ key, value }: ShardRow): void {
    this.#sql.exec("DELETE FROM shard WHERE key = ? AND (part > 0 OR ?)", blob(key), value ? 0 : 1);
    for (const [part, bytes] of (value === undefined ? [] : partsOf(value)).entries())
      this.#sql.exec("INSERT OR REPLACE INTO shard VALUES (?, ?, ?)", blob(key), part, blob(bytes));
  }

  /** In ascending order of the keys. The caller must not write during iteration. */
  *all(): Generator<{ key: Uint8Array; value: Uint8Array }> {
    const rows = this.#sql.exec("SELECT key, part, value FROM shard ORDER BY key, part").raw();
    let row: { key: Uint8Array; value: Uint8Array } | undefined;
    for (const [key, part, value] of rows as Iterable<unknown> as Iterable<
      [ArrayBuffer, number, ArrayBuffer]
    >) {
      if (part > 0 && row !== undefined) {
        row.value = joined([row.value, new Uint8Array(value)]);
        continue;
      }
      if (row !== undefined) yield row;
      row = { key: new Uint8Array(key), value: new Uint8Array(value) };
    }
    if (row !== undefined) yield row;
  }
}

/** A copy in the form SQLite takes: the module's bytes are views into its memory. */
function blob(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

/** At least one part, none larger than a row. */
function partsOf(record: Uint8Array): Uint8Array[] {
  const parts = [record.subarray(0, PART_BYTES_MAX)];
  for (let at = PART_BYTES_MAX; at < record.byteLength; at += PART_BYTES_MAX)
    parts.push(record.subarray(at, at + PART_BYTES_MAX));
  return parts;
}
