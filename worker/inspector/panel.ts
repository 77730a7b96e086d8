// The panel beside the list: the line in full, the state after it, who got it and why not, and
// whether the recording can be replayed.
import { button, byId, count, make, plural, table } from "./dom.js";
import { quoted } from "./filter.js";
import { cut, shown, shownTopic } from "./message.js";
import type { AskWorker } from "./page.js";
import type { Answer, Detail, Field, Link, Mark, StateView, Verdict, Why } from "./protocol.js";

export const TABS = ["line", "state", "why", "verify"] as const;
export type Tab = (typeof TABS)[number];

export interface PanelHost {
  go(line: number): void;
  filter(text: string): void;
  /** The lines of the input that is shown. */
  place(group: { readonly from: number; readonly to: number }): void;
  pick(accept: string, use: (file: File) => void): void;
  note(text: string): void;
  /** A value that the address keeps has changed. */
  remember(): void;
}

const ANSWERS_MAX = 500;
const ANSWER_CHARACTERS = 1000;
const TOPICS_MAX = 500;
const SHORT = 60;
const LABEL = 200;
const AROUND = 4000;

export class Panel {
  tab: Tab = "line";
  readonly #element: HTMLElement;
  readonly #ask: AskWorker;
  readonly #host: PanelHost;
  #line = 0;
  #isDue = false;
  #isBusy = false;
  #isFocusDue = false;
  #stateFilter = "";
  #client = "";
  #topic: string | undefined;
  #verdict: Node | undefined;

  constructor(element: HTMLElement, ask: AskWorker, host: PanelHost) {
    this.#element = element;
    this.#ask = ask;
    this.#host = host;
    this.#markTab();
  }

  open(tab: Tab): void {
    this.tab = tab;
    this.#markTab();
    this.show(this.#line);
  }

  /** The values of the panel that the address keeps. */
  get address(): Record<string, string> {
    return { state: this.#stateFilter, client: this.#client, topic: this.#topic ?? "" };
  }

  restore(tab: string | null, address: URLSearchParams): void {
    this.#stateFilter = address.get("state") ?? "";
    this.#client = address.get("client") ?? "";
    this.#topic = address.get("topic") ?? undefined;
    this.open(TABS.find((name) => name === tab) ?? "line");
  }

  #changed(): void {
    this.#host.remember();
    this.show(this.#line);
  }

  /** Keys repeat faster than answers come: only the latest line is asked for. */
  show(line: number): void {
    this.#line = line;
    this.#isDue = true;
    if (!this.#isBusy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    while (this.#isDue) {
      this.#isDue = false;
      const [line, tab] = [this.#line, this.tab];
      try {
        const detail = await this.#ask("detail", { line, isWhole: false });
        this.#host.place({ from: detail.input, to: detail.end });
        const parts = await this.#parts(tab, line, detail);
        if (this.#isDue) continue;
        this.#replace(parts);
        if (tab === "line") void this.#addCauses(line);
      } catch {
        this.#replace([make("p", "facts", "Select a line.")]);
      }
    }
    this.#isBusy = false;
    if (this.#isFocusDue) this.focusLink();
  }

  async #parts(tab: Tab, line: number, detail: Detail): Promise<Node[]> {
    switch (tab) {
      case "line":
        return this.#lineParts(detail);
      case "state":
        return this.#stateParts(await this.#ask("state", { line, filter: this.#stateFilter }));
      case "why":
        if (!detail.publishes) return this.#noPublish(line);
        return this.#whyParts(await this.#ask("why", { line, topic: this.#topic }));
      case "verify":
        return this.#verifyParts();
    }
  }

  /** Keeps the place and what is typed. */
  #replace(parts: readonly Node[]): void {
    const focused = this.#element.contains(document.activeElement)
      ? (document.activeElement as HTMLInputElement)
      : undefined;
    const { scrollTop } = this.#element;
    this.#element.replaceChildren(...parts);
    this.#element.scrollTop = scrollTop;
    if (focused === undefined || focused.name === "") return;
    const again = this.#element.querySelector<HTMLInputElement>(`[name="${focused.name}"]`);
    again?.focus();
    if (again instanceof HTMLInputElement)
      again.setSelectionRange(again.value.length, again.value.length);
  }

  #markTab(): void {
    for (const tab of document.querySelectorAll<HTMLElement>("#tabs [data-tab]"))
      tab.ariaSelected = String(tab.dataset["tab"] === this.tab);
  }

  #link(line: number, text = `line ${count(line + 1)}`): HTMLElement {
    return button(text, () => this.#host.go(line), "link");
  }

  // --- Line ---

  #lineParts(detail: Detail): Node[] {
    const heading = make("h2", `tone-${detail.tone}`, detail.kind);
    const time =
      detail.time === 0 ? "" : ` · ${new Date(detail.time).toISOString().replace("T", " ")}`;
    const facts = `line ${count(detail.line + 1)}${time} · ${plural(detail.bytes, "byte")}`;
    const links = detail.links.map((link) => this.#linkTo(link));
    if (detail.publishes) {
      const open = (): void => {
        this.open("why");
        this.#host.remember();
      };
      const why = button("Who got it, and why not?", open, "link");
      links.push(make("span", "", why));
    }
    return [
      heading,
      make("p", "facts", facts),
      make("p", "links", ...links),
      ...detail.fields.map((field) => this.#field(field, detail)),
    ];
  }

  #linkTo(link: Link): HTMLElement {
    const { filter, text } = link;
    if (filter !== undefined) return button(text, () => this.#host.filter(filter), "link");
    return make("span", "", `${text}: `, this.#link(link.line));
  }

  /** They may be far away, so the line does not wait for them. */
  async #addCauses(line: number): Promise<void> {
    const links = this.#element.querySelector(".links");
    const causes = await this.#ask("causes", { line });
    links?.append(...causes.map((link) => this.#linkTo(link)));
  }

  /** For the keyboard: waits for the line that is shown next. */
  focusLink(): void {
    this.#isFocusDue = this.#isBusy;
    if (!this.#isBusy) this.#element.querySelector<HTMLElement>("button.link")?.focus();
  }

  #field(field: Field, detail: Detail): HTMLElement {
    const text = field.pretty ?? field.value;
    const isShort = field.pretty === undefined && text.length <= SHORT && !text.includes("\n");
    const element = make(
      "div",
      isShort ? "field short" : "field",
      make("b", "", field.name),
      make("pre", "", text === "" ? '""' : text),
    );
    if (!text.endsWith("…") || detail.bytes < 10_000) return element;
    const more = button("Show all", async () => {
      const whole = await this.#ask("detail", { line: detail.line, isWhole: true });
      const all = whole.fields.find(({ name }) => name === field.name);
      if (all !== undefined) element.querySelector("pre")!.textContent = all.pretty ?? all.value;
      more.remove();
    });
    element.append(more);
    return element;
  }

  // --- State ---

  #stateParts(view: StateView): Node[] {
    const filter = make("input", "");
    filter.name = "state-filter";
    filter.type = "search";
    filter.placeholder = "client, token or topic";
    filter.ariaLabel = "Filter of the state";
    filter.value = this.#stateFilter;
    filter.addEventListener("input", () => {
      this.#stateFilter = filter.value;
      this.#changed();
    });
    const { tokens, clients, topics } = view.counts;
    const rows = [...view.tokens, ...view.clients, ...view.topics];
    const isChanged = rows.some(({ mark }) => mark !== "");
    const changes = isChanged ? "changes are marked" : "nothing changed";
    return [
      make("h2", "", `After line ${count(view.line + 1)}`),
      make("p", "facts", `after ${view.kind} and all its actions; ${changes}`),
      make("div", "tools", filter),
      heading("Clients", clients, view.clients.length),
      table(
        ["", "client", "receives", "tokens", "opened"],
        view.clients.map((row) =>
          entry(row.mark, [
            this.#filterLink(String(row.id), `client:${row.id}`, "number"),
            cell("name", row.topics.map(label).join("  ") || "nothing"),
            cell("number", String(row.tokens)),
            make("td", "number", this.#link(row.opened, count(row.opened + 1))),
          ]),
        ),
      ),
      heading("Tokens", tokens, view.tokens.length),
      table(
        ["", "token", "state", "client", "channel"],
        view.tokens.map((row) =>
          entry(row.mark, [
            this.#filterLink(row.key, `token:${quoted(row.key)}`, "name"),
            cell(
              "state",
              row.was !== "" && row.was !== row.state ? `${row.was} → ${row.state}` : row.state,
            ),
            cell("", row.holder === undefined ? "" : String(row.holder)),
            cell("name", label(row.topic)),
          ]),
        ),
      ),
      heading("Topics", topics, view.topics.length),
      table(
        ["", "topic", "clients", ""],
        view.topics.map((row) =>
          entry(row.mark, [
            this.#filterLink(row.name, `topic:${quoted(row.name)}`, "name"),
            cell("", some(row.clients)),
            cell(
              "",
              [...row.joined.map((id) => `+${id}`), ...row.left.map((id) => `−${id}`)]
                .slice(0, 20)
                .join(" "),
            ),
          ]),
        ),
      ),
    ];
  }

  #filterLink(text: string, filter: string, className: string): HTMLElement {
    const link = button(label(text), () => this.#host.filter(filter), "link");
    link.title = `Show only ${cut(filter, LABEL)}`;
    return make("td", className, link);
  }

  // --- Why not? ---

  #noPublish(line: number): Node[] {
    const go = (step: 1 | -1) => async () => {
      const found = await this.#ask("publish", { line, step });
      if (found !== undefined) this.#host.go(found);
    };
    return [
      make("h2", "", "Who got a message, and why not?"),
      make(
        "p",
        "facts",
        "Select a line that publishes: POST /message, POST /resources, or a message of the engine.",
      ),
      make("div", "tools", button("Previous publish", go(-1)), button("Next publish", go(1))),
    ];
  }

  #whyParts(why: Why | undefined): Node[] {
    if (why === undefined) return [make("p", "facts", "…")];
    const client = make("input", "");
    client.name = "why-client";
    client.inputMode = "numeric";
    client.placeholder = "client";
    client.ariaLabel = "Client";
    client.value = this.#client;
    client.addEventListener("input", () => {
      this.#client = client.value.trim();
      this.#changed();
    });
    const tools = make("div", "tools", client);
    if (why.topics.length > 1) {
      const choice = make("select", "");
      choice.name = "why-topic";
      choice.ariaLabel = "Topic";
      why.topics.slice(0, TOPICS_MAX).forEach((topic, index) => {
        const option = make("option", "", name(topic));
        option.value = String(index);
        option.selected = topic === why.topic;
        choice.append(option);
      });
      choice.addEventListener("change", () => {
        this.#topic = why.topics[Number(choice.value)];
        this.#changed();
      });
      tools.append(choice);
    }
    const got = why.answers.filter(isDelivered).length;
    const asked = why.answers.filter(
      (answer) => this.#client === "" || String(answer.client) === this.#client,
    );
    const rows = asked.slice(0, ANSWERS_MAX).map((answer) => this.#answer(answer));
    const nobody = make(
      "p",
      "facts",
      this.#client === ""
        ? "No client has ever connected to this hub."
        : `Client ${label(this.#client)} has never connected to this hub.`,
    );
    return [
      make("h2", "", `Who got ${name(why.topic)}?`),
      make(
        "p",
        "facts",
        `${plural(got, "client")} of ${count(why.answers.length)}; published at `,
        this.#link(why.line),
      ),
      tools,
      rows.length === 0 ? nobody : table(["", "client", "answer", "line"], rows),
    ];
  }

  #answer(answer: Answer): HTMLTableRowElement {
    const isGood = isDelivered(answer);
    const text = make("td", "", shown(cut(answer.text, ANSWER_CHARACTERS)));
    if (answer.since !== undefined)
      text.append(" Subscribed since ", this.#link(answer.since), ".");
    const row = make(
      "tr",
      isGood ? "delivered" : "missed",
      cell("", isGood ? "✓" : "✗"),
      this.#filterLink(String(answer.client), `client:${answer.client}`, "number"),
      text,
      make(
        "td",
        "number",
        answer.line === undefined ? "" : this.#link(answer.line, count(answer.line + 1)),
      ),
    );
    row.dataset["reason"] = answer.reason;
    return row;
  }

  // --- Verify ---

  #verifyParts(): Node[] {
    const tools = make(
      "div",
      "tools",
      button("Replay", () => void this.#replay()),
      button("Another module…", () => this.#host.pick(".wasm", (file) => this.tryModule(file))),
      button("Another recording…", () =>
        this.#host.pick(".jsonl,.gz", (file) => this.tryRecording(file)),
      ),
    );
    return [
      make("h2", "", "Does it replay?"),
      make(
        "p",
        "facts",
        "Replay passes the inputs to the module in this page, and compares every action byte for " +
          "byte. Another module shows which inputs it answers differently; another recording, the " +
          "first line that differs. You can also drop the file here.",
      ),
      tools,
      this.#verdict ?? "",
    ].map((part) => (typeof part === "string" ? document.createTextNode(part) : part));
  }

  async #replay(): Promise<void> {
    const module = await ownModule();
    if (module === undefined) {
      this.#judge({ isEqual: false, title: "This page contains no module.", notes: [] });
    } else {
      await this.#verify(() => this.#ask("verify", { module }));
    }
  }

  tryModule(file: File): void {
    void this.#verify(async () => {
      const other = new Uint8Array(await file.arrayBuffer());
      return this.#ask("upgrade", { other, name: file.name });
    });
  }

  tryRecording(file: File): void {
    void this.#verify(() => this.#ask("compare", { other: file, name: file.name }));
  }

  async #verify(run: () => Promise<Verdict>): Promise<void> {
    const progress = make("progress", "");
    this.#verdict = progress;
    this.open("verify");
    try {
      this.#judge(await run());
    } catch (error) {
      this.#judge({ isEqual: false, title: String(error), notes: [] });
    }
  }

  showProgress(done: number): void {
    if (this.#verdict instanceof HTMLProgressElement) this.#verdict.value = done;
  }

  #judge(verdict: Verdict): void {
    const element = make("div", verdict.isEqual ? "verdict equal" : "verdict");
    element.append(make("h2", "", label(verdict.title)));
    for (const note of verdict.notes)
      element.append(make("p", "facts", shown(cut(note, ANSWER_CHARACTERS))));
    if (verdict.line !== undefined) element.append(this.#link(verdict.line));
    if (verdict.expected !== undefined && verdict.actual !== undefined)
      element.append(...differing(verdict.expected, verdict.actual));
    for (const link of verdict.links ?? [])
      element.append(make("p", "", this.#link(link.line, link.text)));
    this.#verdict = element;
    this.show(this.#line);
  }
}

function heading(title: string, all: number, shown: number): HTMLElement {
  const text = shown < all ? ` ${count(all)}, ${count(shown)} shown` : ` ${count(all)}`;
  return make("h3", "", title, make("span", "", text));
}

const SIGNS: Record<Mark, string> = { new: "+", changed: "~", gone: "−", "": "" };

function entry(mark: Mark, cells: readonly HTMLElement[]): HTMLTableRowElement {
  return make("tr", mark, cell("", SIGNS[mark]), ...cells);
}

function cell(className: string, text: string): HTMLTableCellElement {
  return make("td", className, text);
}

function some(ids: readonly number[]): string {
  const shown = ids.slice(0, 12).join(" ");
  return ids.length > 12 ? `${shown} and ${count(ids.length - 12)} more` : shown;
}

/** A text that others have chosen. */
function label(text: string): string {
  return shown(cut(text, LABEL));
}

function name(topic: string): string {
  return label(shownTopic(topic));
}

function isDelivered(answer: Answer): boolean {
  return answer.reason === "delivered" || answer.reason === "recovered";
}

/** Two lines, with the part that differs marked. Of long lines, the surroundings of its start. */
function differing(expected: string, actual: string): HTMLElement[] {
  let start = 0;
  while (start < expected.length && expected[start] === actual[start]) start++;
  let end = 0;
  const most = Math.min(expected.length, actual.length) - start;
  while (end < most && expected.at(-1 - end) === actual.at(-1 - end)) end++;
  const from = Math.max(0, start - AROUND);
  const show = (label: string, text: string): HTMLElement => {
    const to = text.length - end;
    const parts = [text.slice(from, start), text.slice(start, to), text.slice(to, to + AROUND)];
    const [before, other, after] = parts.map((part) => shown(cut(part, AROUND)));
    const lead = `${label}  ${from > 0 ? "…" : ""}`;
    const rest = to + AROUND < text.length ? "…" : "";
    return make("pre", "", lead, before, make("mark", "", other), `${after}${rest}`);
  };
  return [show("recorded", expected), show("found   ", actual)];
}

/** The module within the page, in base64. */
async function ownModule(): Promise<Uint8Array | undefined> {
  const { textContent: base64, dataset } = byId("module");
  if (!base64) return undefined;
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  if (dataset["encoding"] !== "gzip") return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
