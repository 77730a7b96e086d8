// The attachment of each socket, which survives hibernation: the client's handle and its record. A
// socket without one has already been forgotten by the hub. Records are stored as text, which the
// runtime returns four times as fast as bytes; a wake reads all of them.

/** Cloudflare's limit is 16,384 serialized bytes; everything but the record takes less than 64. */
const RECORD_BYTES_MAX = 16_384 - 64;
const IN_ROWS = true;

export interface Attachment {
  readonly client: number;
  /** Empty: no record yet. `IN_ROWS`: the record is too large for an attachment. */
  readonly record: string | typeof IN_ROWS;
}

/** Returns false if the record is too large, and notes that it is in rows. */
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

/** Text is serialized with one byte per character, or two if any character is beyond Latin-1. */
function serializedBytesMax(record: string): number {
  return record.length > RECORD_BYTES_MAX / 2 && /[^\x00-\xff]/.test(record)
    ? 2 * record.length
    : record.length;
}
