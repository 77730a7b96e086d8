// Features that the npm client expects and Node 20 lacks; browsers and Node 22 have both. Import
// this first.
import { WebSocket as WsWebSocket } from "ws";

// Socket failures reach the client through onerror, as in a browser.
globalThis.WebSocket ??= WsWebSocket as unknown as typeof WebSocket;

// Iterator helpers: the client calls map.keys().filter(...).
const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([].values())) as object;
if (!("filter" in iteratorPrototype)) {
  Object.defineProperty(iteratorPrototype, "filter", {
    configurable: true,
    writable: true,
    value: function* <T>(this: Iterable<T>, keep: (value: T) => boolean) {
      for (const value of this) if (keep(value)) yield value;
    },
  });
}
