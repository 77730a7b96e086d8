// Tests of all hosts that do not run against the Worker, each with the reason. Nothing is skipped
// without one.
import { test as anyTest, type TestContext } from "node:test";
import { hostName } from "./command.ts";

/** By the start of the test's title. */
const NOT_FOR_THE_WORKER: Readonly<Record<string, readonly string[]>> = {
  "workerd manages HTTP connections": [
    "closes a connection after answering a request with an unwanted body",
    "rejects an oversized declared body before it is sent",
    "a peer that keeps sending after a rejection",
  ],
  "workerd judges frames": ["malformed frames close their own socket only"],
  "workerd replaces invalid UTF-8 in text messages": [
    "closes a client that sends text that is not UTF-8 with 1007",
  ],
  "workerd does not say how much a client has yet to read": [
    "a client that does not read",
    "the memory of unsent messages",
    "takeovers by sockets that do not read",
    "sockets that ask for much at once",
  ],
  "workerd sends no pings": ["drops a socket whose peer has silently gone"],
  "the Worker has no event loop of its own": ["a blocked event loop"],
  "workerd gives no notice of an end": [
    "shutdown:",
    "a second shutdown",
    "answers a delayed 401 at shutdown",
  ],
  "the Worker logs failures only": ["logs opens and closes"],
  "the Worker records for GET /trace: tests/hosts/cloudflare/recording.test.ts": [
    "someone who guesses secrets",
    "answers all pipelined requests",
    "clients that send thousands of small frames at once",
    "a request for the metrics is not recorded",
    "a recording ",
  ],
  "traps need a test build: tests/hosts/cloudflare/traps.test.ts": [
    "after a trap",
    "a trap closes only the sender",
    "a request whose admission traps",
    "everything a client listened to step by step survives a trap",
    "the input that trapped the hub",
    "the log of a trap",
    "the stored record at which a restore trapped",
    "when the stored records themselves trap",
    "ignores answers to forwards of a previous hub",
  ],
};

type Body = (context: TestContext) => Promise<void>;

const TEST_MS_MAX = 300_000; // only ends a test that has failed

/** `test` of node:test, with the exceptions and a limit of its own for each test. */
export function test(name: string, options: { skip?: boolean | string } | Body, body?: Body): void {
  const given = typeof options === "function" ? {} : options;
  const reason = Object.entries(NOT_FOR_THE_WORKER).find(([, titles]) =>
    titles.some((title) => name.startsWith(title)),
  )?.[0];
  const skip = hostName === "worker" && reason !== undefined ? reason : (given.skip ?? false);
  void anyTest(
    name,
    { timeout: TEST_MS_MAX, ...given, skip },
    typeof options === "function" ? options : body,
  );
}
