// The page of the inspector: the list, the strip, the filter, keys and links. The Web Worker holds
// the recording.
import { byId, plural } from "./dom.js";
import { List } from "./list.js";
import { cut, shown } from "./message.js";
import type { Tab } from "./panel.js";
import { Panel, TABS } from "./panel.js";
import type { Asks, FromWorker, ListSummary, Summary, ToWorker } from "./protocol.js";
import { Strip } from "./strip.js";

const code = byId("worker").textContent ?? "";
const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
const send = (message: ToWorker): void => worker.postMessage(message);

let lastId = 0;
const waiting = new Map<
  number,
  { resolve: (answer: unknown) => void; reject: (error: Error) => void }
>();

export type AskWorker = <A extends keyof Asks>(
  ask: A,
  given: Asks[A]["ask"],
) => Promise<Asks[A]["answer"]>;

const ask: AskWorker = (name, given) =>
  new Promise((resolve, reject) => {
    const id = ++lastId;
    waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
    worker.postMessage({ id, ask: name, with: given });
  });

worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
  if ("id" in data) {
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if ("error" in data) asked?.reject(new Error(data.error));
    else asked?.resolve(data.answer);
  } else if ("summary" in data) {
    showSummary(data.summary);
  } else if ("list" in data) {
    showList(data.list);
  } else {
    panel.showProgress(data.progress.done);
  }
};

// --- what is shown ---

let summary: Summary | undefined;
let selected = 0;
let selectedGroup = { from: 0, to: 0 };
let isFiltered = false;
let isListOther = true;
/** Whether the list follows the end of a live recording. */
let isFollowing = false;
/** From the address: the line to go to once it has arrived. */
let wanted: number | undefined;

const list = new List(byId("list"), byId("space"), byId("rows"), {
  rows: (from, rows) => ask("rows", { from, count: rows }),
  timeText: (row) => clock(row.time),
  classesOf: (row) => {
    const match = row.isMatch ? "match " : "";
    if (row.line === selected) return `${match}selected`;
    const isBeside = row.line >= selectedGroup.from && row.line < selectedGroup.to;
    return isBeside ? `${match}group` : match;
  },
  onSelect: (row) => {
    byId("list").focus();
    inTurn(() => select(row.line, "none"));
  },
});

const panel = new Panel(byId("panel"), ask, {
  go: (line) => {
    byId("list").focus();
    inTurn(() => goTo(line));
  },
  filter: (text) => {
    byId<HTMLInputElement>("filter").value = text;
    applyFilter();
  },
  place: (group) => {
    selectedGroup = group;
    list.refresh();
  },
  pick: (accept, use) => pickFile(accept, use),
  note: showNote,
  remember,
});

const strip = new Strip(byId<HTMLCanvasElement>("strip"), (bucket, buckets) => {
  inTurn(async () => select(await ask("jump", { bucket, buckets }), "centre"));
});

const CORE_SHOWN = 40;

function clock(time: number): string {
  return time === 0 ? "" : new Date(time).toISOString().slice(11, 23);
}

function showSummary(now: Summary): void {
  const wasThere = (summary?.lines ?? 0) > 0;
  summary = now;
  byId("empty").hidden = now.lines > 0 || !now.isComplete || now.isLive;
  byId("progress").hidden = now.isComplete || now.isLive;
  byId("save").hidden = now.name !== "live";
  byId("follow").hidden = !now.isLive;
  document.title =
    now.name === "" ? "Sidekick inspector" : `${shown(now.name)} · Sidekick inspector`;
  const bold = document.createElement("b");
  bold.textContent = shown(now.name);
  const facts = [
    plural(now.lines, "line"),
    plural(now.inputs, "input"),
    now.hubs > 1 ? plural(now.hubs, "hub") : "",
    size(now.bytes),
    now.from === 0 ? "" : `${new Date(now.from).toISOString().slice(0, 19).replace("T", " ")} UTC`,
    now.to > now.from ? span(now.to - now.from) : "",
    now.core === "" ? "" : `core ${shown(cut(now.core, CORE_SHOWN))}`,
  ];
  byId("summary").replaceChildren(
    bold,
    `  ${facts.filter((fact) => fact !== "").join(" · ")}${now.isLive ? " · live" : ""}`,
  );
  showNote(now.note);
  if (now.isComplete || now.isLive) void showDensity();
  if (wanted !== undefined && (now.lines > wanted || now.isComplete)) {
    const line = Math.min(wanted, now.lines - 1);
    wanted = undefined;
    if (line >= 0) inTurn(() => select(line, "centre"));
  } else if (now.isComplete || !wasThere) {
    panel.show(selected);
  }
}

function size(bytes: number): string {
  if (bytes < 1e4) return plural(bytes, "byte");
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function span(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 3 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

function showNote(text: string): void {
  byId("note").hidden = text === "";
  byId("note").textContent = shown(text);
}

function showList({ rows, matches, inputs, isDone }: ListSummary): void {
  const wasAtEnd = isFollowing && list.isAtEnd;
  list.setCount(rows, isListOther);
  isListOther = false;
  byId("matches").textContent = !isFiltered ? "" : `${plural(inputs, "input")}${isDone ? "" : "…"}`;
  byId("nothing").hidden = !(isFiltered && isDone && rows === 0);
  for (const id of ["previous", "next"]) byId<HTMLButtonElement>(id).disabled = matches === 0;
  if (wasAtEnd && rows > 0) showEnd(rows);
}

function setFollowing(isOn: boolean): void {
  isFollowing = isOn;
  byId("follow").ariaPressed = String(isOn);
}

function follow(): void {
  setFollowing(true);
  showEnd(list.count);
}

function showEnd(rows: number): void {
  selected = Math.max(0, (summary?.lines ?? 0) - 1);
  selectedGroup = { from: selected, to: selected + 1 };
  list.reveal(rows - 1);
  list.refresh();
  void showPlace();
  // Not under the pointer: a click would miss what it points at.
  const isReplaced = panel.tab === "line" || panel.tab === "state";
  if (isReplaced && !byId("panel").matches(":hover")) panel.show(selected);
}

let densityLines = -1;
async function showDensity(): Promise<void> {
  if (summary === undefined || summary.lines === 0) return;
  densityLines = summary.lines;
  const { buckets } = await ask("density", { buckets: strip.count });
  strip.show(buckets);
  void showPlace();
}

async function showPlace(): Promise<void> {
  if (densityLines > 0) strip.mark(await ask("place", { line: selected, buckets: strip.count }));
}

// --- moving ---

type Scroll = "none" | "near" | "centre";

/**
 * Keys and clicks take effect in the order in which they came, however long the worker thinks about
 * each: a move begins where the one before it has ended.
 */
let turn: Promise<unknown> = Promise.resolve();
function inTurn(act: () => unknown): void {
  turn = turn.then(act).catch((error: unknown) => showNote(String(error)));
}

async function select(line: number, scroll: Scroll): Promise<void> {
  if (summary === undefined || summary.lines === 0) return;
  selected = Math.min(Math.max(0, line), summary.lines - 1);
  setFollowing(false);
  if (selected < selectedGroup.from || selected >= selectedGroup.to)
    selectedGroup = { from: selected, to: selected + 1 };
  list.refresh();
  panel.show(selected);
  void showPlace();
  remember();
  if (scroll === "none") return;
  list.reveal(await ask("position", { line: selected }), scroll === "centre");
}

/** Of a link: "back" returns to where it stands. */
async function goTo(line: number): Promise<void> {
  rememberNow();
  if (line !== selected) history.pushState(null, "", address());
  await select(line, "centre");
}

/** By rows of the list, of which a filter may show only some. */
async function move(rows: number): Promise<void> {
  const line = await ask("move", { line: selected, rows });
  if (line !== undefined) await select(line, "near");
}

async function moveInput(step: 1 | -1): Promise<void> {
  const line = await ask("input", { line: selected, step });
  if (line !== undefined) await select(line, "near");
}

async function moveMatch(step: 1 | -1): Promise<void> {
  const line = await ask("next", { line: selected, step });
  if (line !== undefined) await select(line, "centre");
}

async function movePublish(step: 1 | -1): Promise<void> {
  const line = await ask("publish", { line: selected, step });
  if (line !== undefined) await select(line, "centre");
}

let filterDue: ReturnType<typeof setTimeout> | undefined;

/** Applies the typed filter before the next key, even before the pause that ends the typing. */
function finishTyping(): void {
  if (filterDue !== undefined) applyFilter();
}

function applyFilter(): void {
  clearTimeout(filterDue);
  filterDue = undefined;
  inTurn(filterNow);
}

async function filterNow(): Promise<void> {
  const field = byId<HTMLInputElement>("filter");
  isFiltered = field.value.trim() !== "";
  isListOther = true;
  const isOnly = byId<HTMLInputElement>("only").checked;
  const { error } = await ask("filter", { text: field.value, isOnly });
  field.ariaInvalid = String(error !== "");
  field.title = shown(error);
  remember();
  list.reveal(await ask("position", { line: selected }), true);
}

function goToLine(): void {
  const text = prompt("Go to line");
  const line = Number.parseInt(text ?? "", 10);
  if (line > 0) inTurn(() => select(line - 1, "centre"));
}

// --- the address: #line=12&tab=state&filter=... ---

function address(): string {
  const parts = new URLSearchParams({ line: String(selected + 1) });
  if (panel.tab !== "line") parts.set("tab", panel.tab);
  const filter = byId<HTMLInputElement>("filter").value;
  if (filter !== "") parts.set("filter", filter);
  if (!byId<HTMLInputElement>("only").checked) parts.set("only", "no");
  for (const [name, value] of Object.entries(panel.address))
    if (value !== "") parts.set(name, value);
  return `#${parts.toString()}`;
}

/** Safari rejects more than 100 changes of the address in 30 s. A key that is held makes more. */
const ADDRESS_MS = 350;
let addressDue: ReturnType<typeof setTimeout> | undefined;
function remember(): void {
  addressDue ??= setTimeout(rememberNow, ADDRESS_MS);
}

function rememberNow(): void {
  clearTimeout(addressDue);
  addressDue = undefined;
  history.replaceState(null, "", address());
}

function recall(): void {
  const parts = new URLSearchParams(location.hash.slice(1));
  panel.restore(parts.get("tab"), parts);
  const [filter, only] = [byId<HTMLInputElement>("filter"), byId<HTMLInputElement>("only")];
  const [text, isOnly] = [parts.get("filter") ?? "", parts.get("only") !== "no"];
  if (text !== filter.value || isOnly !== only.checked) {
    filter.value = text;
    only.checked = isOnly;
    applyFilter();
  }
  const line = Number.parseInt(parts.get("line") ?? "", 10);
  if (!(line > 0)) return;
  if (summary !== undefined && line <= summary.lines) inTurn(() => select(line - 1, "centre"));
  else wanted = line - 1;
}

// --- keys, files, theme ---

/** They wait for the worker, each for the one before it. */
const moves: Record<string, () => void | Promise<void>> = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  j: () => move(1),
  k: () => move(-1),
  PageDown: () => move(list.pageRows),
  PageUp: () => move(-list.pageRows),
  Home: () => move(-list.count),
  End: () => (summary?.isLive ? follow() : move(list.count)),
  ArrowRight: () => moveInput(1),
  ArrowLeft: () => moveInput(-1),
  n: () => moveMatch(1),
  N: () => moveMatch(-1),
  p: () => movePublish(1),
  P: () => movePublish(-1),
};
const keys: Record<string, () => void> = {
  Enter: () => inTurn(() => panel.focusLink()),
  g: goToLine,
  d: switchTheme,
  "/": () => byId("filter").focus(),
  "?": () => byId<HTMLDialogElement>("help").showModal(),
};
for (const [index, tab] of TABS.entries()) keys[String(index + 1)] = () => openTab(tab);

function openTab(tab: Tab): void {
  panel.open(tab);
  panel.show(selected);
  remember();
}

addEventListener("keydown", (event) => {
  const target = event.target as HTMLElement;
  if (byId<HTMLDialogElement>("help").open) return;
  if (event.key === "Escape") {
    event.preventDefault(); // would clear the filter
    byId("list").focus();
    return;
  }
  if (target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey)
    return;
  const isArrow = event.key.startsWith("Arrow") || event.key.startsWith("Page");
  if (isArrow && target.closest("#panel, #tabs, #divider") !== null) return;
  if (event.key === "Enter" && target !== byId("list") && target !== document.body) return;
  const [move, act] = [moves[event.key], keys[event.key]];
  if (move === undefined && act === undefined) return;
  event.preventDefault();
  finishTyping();
  if (move !== undefined) inTurn(move);
  act?.();
});

byId("filter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  finishTyping();
  inTurn(() => moveMatch(1));
});
byId("filter").addEventListener("input", () => {
  clearTimeout(filterDue);
  filterDue = setTimeout(applyFilter, 120);
});
byId("only").addEventListener("change", applyFilter);
for (const [id, step] of [
  ["previous", -1],
  ["next", 1],
] as const)
  byId(id).addEventListener("click", () => inTurn(() => moveMatch(step)));
byId("help-button").addEventListener("click", () => byId<HTMLDialogElement>("help").showModal());
for (const element of document.querySelectorAll<HTMLElement>("#tabs [data-tab]"))
  element.addEventListener("click", () => openTab(element.dataset["tab"] as Tab));

function pickFile(accept: string, use: (file: File) => void): void {
  const input = byId<HTMLInputElement>("file");
  input.accept = accept;
  input.value = "";
  input.onchange = () => {
    const file = input.files?.[0];
    if (file !== undefined) use(file);
  };
  input.click();
}

function openFile(file: File): void {
  summary = undefined;
  selected = 0;
  selectedGroup = { from: 0, to: 0 };
  isListOther = true;
  setFollowing(false);
  send({ load: file, name: file.name });
}

for (const id of ["open", "open-empty"])
  byId(id).addEventListener("click", () => pickFile(".jsonl,.gz,.json,.txt", openFile));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer?.files[0];
  if (file === undefined) return;
  if (file.name.endsWith(".wasm")) panel.tryModule(file);
  else if (panel.tab === "verify" && (summary?.lines ?? 0) > 0) panel.tryRecording(file);
  else openFile(file);
});
byId("follow").addEventListener("click", follow);
byId("save").addEventListener("click", async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await ask("save", undefined));
  link.download = "live.jsonl";
  link.click();
  URL.revokeObjectURL(link.href);
});

const dark = matchMedia("(prefers-color-scheme: dark)");
function setTheme(isDark: boolean): void {
  document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
  strip.draw();
}
function switchTheme(): void {
  setTheme(document.documentElement.dataset["theme"] !== "dark");
}
setTheme(dark.matches);
dark.addEventListener("change", () => setTheme(dark.matches));
byId("theme").addEventListener("click", switchTheme);

const divider = byId("divider");
divider.addEventListener("pointerdown", (event) => {
  divider.setPointerCapture(event.pointerId);
  event.preventDefault();
});
divider.addEventListener("pointermove", (event) => {
  if (divider.hasPointerCapture(event.pointerId))
    resizePanel(innerWidth - event.clientX, innerHeight - event.clientY);
});
divider.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: 40, ArrowUp: 40, ArrowRight: -40, ArrowDown: -40 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const { width, height } = byId("panel").getBoundingClientRect();
  resizePanel(width + step, height + 40 + step);
});
function resizePanel(width: number, height: number): void {
  const style = document.documentElement.style;
  style.setProperty("--panel", `${Math.min(Math.max(240, width), innerWidth - 240)}px`);
  style.setProperty("--panel-height", `${Math.min(Math.max(120, height), innerHeight - 220)}px`);
}
addEventListener("resize", () => void showDensity());
addEventListener("hashchange", recall);

// --- the recording in the page, or live ---

/** Of its bytes as %XX, which need not be UTF-8. */
function fileName(encoded: string): string {
  const bytes = encoded.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)));
}

function start(): void {
  recall();
  const parts = [...document.querySelectorAll<HTMLElement>("script.recording")];
  parts.forEach((part, index) => {
    send({
      part: part.textContent ?? "",
      isGzip: part.dataset["encoding"] === "gzip",
      name: fileName(part.dataset["name"] ?? ""),
      isLast: index === parts.length - 1,
    });
    part.remove(); // the worker has it now
  });
  const live = document.querySelector<HTMLElement>("script.live");
  if (live !== null) {
    setFollowing(true);
    send({ live: new URL("live", location.href).href });
  }
  byId("empty").hidden = parts.length > 0 || live !== null;
  if (parts.length === 0 && live === null) panel.show(0);
  byId("progress").hidden = parts.length === 0;
}

if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
else start();
