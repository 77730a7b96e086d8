// The page's one client, and what the page shows of its connection: the state, the time until the
// next retry, and what arrived late.
import { CovenantClient } from "@covenant-rpc/client";
import { httpClientToServer } from "@covenant-rpc/client/interfaces/http";
import { connectSidekick, type State, withAcks } from "../../src/client/index.js";
import { covenant } from "../covenant.js";
import { element } from "./dom.js";

declare const SIDEKICK_URL: string; // set by the bundler, see site.ts
declare const COVENANT_PATH: string;
declare const IS_CLUSTER: boolean; // several Sidekicks behind proxy.ts

const url = IS_CLUSTER ? `${SIDEKICK_URL}/tab/${crypto.randomUUID()}` : SIDEKICK_URL;

export const sidekick = connectSidekick(url, {
  server: httpClientToServer(new URL(COVENANT_PATH, location.href).href, {}),
});
export const client = withAcks(
  new CovenantClient(covenant, {
    serverConnection: sidekick.server,
    sidekickConnection: sidekick,
  }),
  sidekick,
);

// --- the state ---

const stateText = element("#state");
const countdown = element("#countdown");
const node = element("#node");
const retry = element("#retry");
const reasonText = element("#reason");
retry.addEventListener("click", () => sidekick.wake());

function show(state: State): void {
  const isLive = state.name === "live";
  stateText.dataset["state"] = state.name;
  stateText.textContent = nameOf(state);
  if (isLive || state.reason !== undefined) reasonText.textContent = reasonOf(state);
  retry.hidden = state.name !== "waiting";
  countDown(state);
  if (IS_CLUSTER) void showNode(isLive);
  if (isLive && lostAt > 0) onBack();
  if (!isLive && wasLive) lostAt ||= Date.now();
  wasLive ||= isLive;
}

/** Which Sidekick the page got. A real load balancer does not tell. */
async function showNode(isLive: boolean): Promise<void> {
  const name = isLive ? await fetch(`${url}/node`).then((answer) => answer.text()) : "";
  node.textContent = name && `to ${name}`;
}

function nameOf({ name, reason }: State): string {
  if (name === "live") return "Connected";
  if (name === "waiting") return wasLive ? "Connection lost" : "No connection";
  if (name === "closed") return `Closed: ${reason}`;
  return wasLive ? "Reconnecting…" : "Connecting…";
}

function reasonOf({ name, reason, attempt = 0, legacy }: State): string {
  if (name === "waiting")
    return `Reason: ${reason} (attempt ${attempt}). What you see may be out of date.`;
  return legacy
    ? "This Sidekick cannot tell what a page missed, so the page asks for everything again."
    : "";
}

/** Outside the live region: a screen reader would read out every second. */
function countDown(state: State): void {
  const { retryAt } = state;
  if (state !== sidekick.state) return;
  countdown.textContent =
    retryAt === undefined
      ? ""
      : `retry in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s`;
  if (retryAt !== undefined) setTimeout(() => countDown(state), 250);
}

// --- what was missed ---

const notice = element("#notice");
const noticeText = element("#notice span");
let wasLive = false;
let lostAt = 0;
let backAt = 0;
let backText = "";
const missed = { todo: 0, message: 0 };

element("#notice button").addEventListener("click", forget);

/**
 * Whether something that is new to this page is older than its last reconnect. The app server's
 * clock and the browser's are compared: in a demo, both are on one machine.
 */
export const isLate = (at: Date): boolean => at.getTime() < backAt;

/** Counts something late, and marks its element. */
export function markMissed(kind: keyof typeof missed, shown: Element): void {
  shown.classList.add("missed");
  missed[kind]++;
  showNotice();
}

function onBack(): void {
  forget();
  backAt = Date.now();
  backText = `Back after ${Math.ceil((backAt - lostAt) / 1000)} s.`;
  lostAt = 0;
  showNotice();
}

function showNotice(): void {
  const parts = Object.entries(missed)
    .filter(([, many]) => many > 0)
    .map(([kind, many]) => `${many} ${kind}${many > 1 ? "s" : ""}`);
  const what = parts.length > 0 ? ` You missed ${parts.join(" and ")}, marked below.` : "";
  noticeText.textContent = backText + what;
  notice.hidden = false;
}

function forget(): void {
  notice.hidden = true;
  missed.todo = missed.message = 0;
  for (const shown of document.querySelectorAll(".missed")) shown.classList.remove("missed");
}

sidekick.on("state", show);
sidekick.connect(); // now, beside the first query
