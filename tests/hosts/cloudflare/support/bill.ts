// The events that Cloudflare bills, as billed-worker.ts counts them.

/** Of all objects of a class. Calls and requests are billed alike. */
export interface Bill {
  calls: number;
  /** WebSocket messages received; 20 are one request. */
  messages: number;
  alarmsFired: number;
  /** Including one for each alarm set. */
  rowsWritten: number;
  rowsRead: number;
  /** Constructions of an object. */
  wakes: number;
}

export interface Bills {
  /** Requests to the Worker. */
  worker: number;
  objects: Bill;
  shards: Bill;
}
