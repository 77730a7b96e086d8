// The events of a page that concern a connection. Workers, React Native and servers have few of
// them, or none.

export const isHidden = () => globalThis.document?.hidden === true;

export interface PageEvents {
  /** The page became visible, left the back/forward cache, or the network is back. */
  wake(): void;
  /** The network may be gone: Chrome keeps the socket, and under a VPN the event can be wrong. */
  suspect(): void;
  /** The page goes into the back/forward cache, unless it has an open socket. */
  pause(): void;
}

/** @returns a function that removes all listeners */
export function watchPage({ wake, suspect, pause }: PageEvents): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  const on = (target: EventTarget | undefined, type: string, listener: (event: Event) => void) =>
    target?.addEventListener?.(type, listener, { signal });
  const all = globalThis as unknown as EventTarget;
  on(all, "online", wake);
  on(all, "offline", suspect);
  on(all, "pageshow", wake);
  on(all, "pagehide", (event) => (event as PageTransitionEvent).persisted && pause());
  on(globalThis.document, "visibilitychange", () => isHidden() || wake());
  return () => controller.abort();
}
