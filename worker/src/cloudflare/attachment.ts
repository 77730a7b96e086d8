// What stands with each socket while the object sleeps: the client's handle and its record. A socket without one is over: the hub
// has forgotten its client already. Records are texts, which the runtime gives back four times as fast as bytes; a wake reads all.

/** Cloudflare's bound is 16,384 bytes as serialized; what is not the record takes less than 64. */
const RECORD_BYTES_MAX = 16_384 - 64;
const IN_ROWS = true;

export interface Attachment {
  readonly client: number;
  /** Empty: there is none yet. `IN_ROWS`: it is too large to stand here. */
  readonly record: string | typeof IN_ROWS;
}

/** Returns false, and notes that the record is in rows, when it is too large. */
export function attach(socket: WebSocket, client: number, record: string): boolean {
  const fits = serializedBytesMax(record) <= RECORD_BYTES_MAX;
  socket.serializeAttachment([client, fits ? record : IN_ROWS]);
  return fits;
}

export function detach(socket: WebSocket): void {
  socket.serializeAttachment(null);
}

export function readAttachment(socket: WebSocket): Attachment | undefined {
  const value = socket.deserializeAttachment() as null | [number, Attachment["record"]];
  return value === null ? undefined : { client: value[0], record: value[1] };
}

/** A text is serialized with one byte per character, or, where it has any beyond Latin 1, with two. */
function serializedBytesMax(record: string): number {
  return record.length > RECORD_BYTES_MAX / 2 && /[^\x00-\xff]/.test(record)
    ? 2 * record.length
    : record.length;
}
