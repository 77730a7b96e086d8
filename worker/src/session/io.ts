// What a session asks of its host: to perform actions, one method each, and for what only the host
// has. A method that throws has not performed its action.
import type {
  AttachClientAction,
  CloseAction,
  EraseTokenAction,
  ForwardAction,
  PutTokenAction,
  RespondAction,
  RestoreClientInput,
  RestoreTokenInput,
  SendAction,
  TouchTokenAction,
} from "../module/border.generated.js";
import type { HubLike } from "../module/hub.js";

/** Bytes in actions and lines are views: copy what must outlive the call. */
export interface Io {
  /** Milliseconds since the Unix epoch, from a clock that does not jump. */
  now(): number;
  /** Called at the start, and after the previous hub trapped and was let go. */
  createHub(): HubLike;
  storedTokens(): Iterable<RestoreTokenInput & { readonly key: Uint8Array }>;
  /** The clients whose sockets are open and that the host has not been told to close. */
  openClients(): Iterable<RestoreClientInput>;
  /** Hubs trap on the stored tokens: forget them all. The session closes the clients. */
  forgetTokens(): void;
  /** Undefined: nothing is recorded. */
  readonly recording: Recording | undefined;
  /** Logs a bug or a failure of the storage. */
  report(message: string, error: unknown, at?: { readonly [name: string]: string }): void;

  putToken(action: PutTokenAction): void;
  touchToken(action: TouchTokenAction): void;
  eraseToken(action: EraseTokenAction): void;
  attachClient(action: AttachClientAction): void;
  send(action: SendAction): void;
  /** Answers an open exchange; ignored if its peer has gone. */
  respond(action: RespondAction): void;
  /** Ends in one forward_done. */
  forward(action: ForwardAction): void;
  cancelForward(forward: number): void;
  /** The hub has forgotten this client: nothing more from it may reach the session. */
  close(action: CloseAction): void;
  setTimer(atMs: number): void;
}

/** Takes the trace. */
export interface Recording {
  /** Once false, the hub stops producing lines until it is replaced. */
  readonly isActive: boolean;
  /** A recording of a new hub begins with this line, which lacks its newline. */
  begin(firstLine: Uint8Array): void;
  /** Whole lines. */
  write(lines: Uint8Array): void;
  /** Everything since `begin` belongs to the restore of the hub. */
  restored(): void;
}
