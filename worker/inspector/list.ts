// A list of any number of rows with a fixed height: only the visible ones are in the document.
// Browsers limit the height of an element (17 million pixels in Firefox, 33 in Chromium). So above
// a limit of our own a pixel of the scroll bar is several of the list; the wheel moves by pixels.
import type { Row } from "./protocol.js";

const ROW_PX = 22;
const HEIGHT_MAX = 8_000_000;
const BLOCK_ROWS = 64;
const BLOCKS_MAX = 256;
const SETTLE_MS = 150;
const CELLS = ["number", "time", "kind", "who", "text"] as const;

interface Shown {
  readonly element: HTMLElement;
  readonly cells: Record<(typeof CELLS)[number], HTMLElement>;
  row: Row | undefined;
}

export interface ListSource {
  rows(from: number, count: number): Promise<readonly Row[]>;
  timeText(row: Row): string;
  /** More classes of a row. */
  classesOf(row: Row): string;
  onSelect(row: Row): void;
}

export class List {
  readonly #element: HTMLElement;
  readonly #space: HTMLElement;
  readonly #layer: HTMLElement;
  readonly #source: ListSource;
  readonly #shown: Shown[] = [];
  #blocks = new Map<number, readonly Row[]>();
  #version = 0;
  #isAsking = false;
  #count = 0;
  /** In pixels of the whole list. */
  #offset = 0;
  #scrollTop = 0;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #isDue = false;

  constructor(element: HTMLElement, space: HTMLElement, layer: HTMLElement, source: ListSource) {
    this.#element = element;
    this.#space = space;
    this.#layer = layer;
    this.#source = source;
    element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    element.addEventListener("wheel", (event) => this.#wheeled(event), { passive: false });
    new ResizeObserver(() => this.#resized()).observe(element);
    layer.addEventListener("mousedown", (event) => {
      const target = event.target as HTMLElement;
      const shown = this.#shown.find(({ element: row }) => row.contains(target));
      if (event.button === 0 && shown?.row !== undefined) source.onSelect(shown.row);
    });
  }

  get count(): number {
    return this.#count;
  }

  get pageRows(): number {
    return Math.max(1, Math.floor(this.#element.clientHeight / ROW_PX) - 1);
  }

  /** Whether the last row is in sight. */
  get isAtEnd(): boolean {
    return this.#offset >= this.#offsetMax - ROW_PX;
  }

  /** @param isOther whether the rows were replaced; otherwise rows were only added */
  setCount(count: number, isOther: boolean): void {
    const last = Math.floor(this.#count / BLOCK_ROWS);
    this.#count = count;
    if (isOther) {
      this.#version++;
      this.#blocks = new Map();
    } else {
      this.#blocks.delete(last);
    }
    this.#space.style.height = `${Math.min(count * ROW_PX, HEIGHT_MAX)}px`;
    this.#moveTo(this.#offset);
  }

  /** Scrolls no further than needed. */
  reveal(index: number, isCentred = false): void {
    const top = index * ROW_PX;
    const height = this.#element.clientHeight;
    const isVisible = top >= this.#offset && top + ROW_PX <= this.#offset + height;
    if (isVisible && !isCentred) return;
    if (isCentred) this.#moveTo(top - height / 2);
    else this.#moveTo(top < this.#offset ? top : top + ROW_PX - height);
  }

  /** Redraws the visible rows. */
  refresh(): void {
    for (const shown of this.#shown) shown.row = undefined;
    this.#draw();
  }

  #rowAt(index: number): Row | undefined {
    return this.#blocks.get(Math.floor(index / BLOCK_ROWS))?.[index % BLOCK_ROWS];
  }

  get #offsetMax(): number {
    return Math.max(0, this.#count * ROW_PX - this.#element.clientHeight);
  }

  get #scrollMax(): number {
    const height = Math.min(this.#count * ROW_PX, HEIGHT_MAX);
    return Math.max(0, height - this.#element.clientHeight);
  }

  /** Pixels of the list for one pixel of the scroll bar. */
  get #ratio(): number {
    return this.#scrollMax === 0 ? 1 : this.#offsetMax / this.#scrollMax;
  }

  #moveTo(offset: number): void {
    this.#offset = Math.min(Math.max(0, offset), this.#offsetMax);
    this.#align();
    this.#draw();
  }

  /** Puts the scroll bar where it belongs. */
  #align(): void {
    this.#element.scrollTop = this.#offset / this.#ratio;
    this.#scrollTop = this.#element.scrollTop;
  }

  #wheeled(event: WheelEvent): void {
    if (this.#ratio <= 1 || event.ctrlKey || event.deltaY === 0) return;
    event.preventDefault();
    const unit = [1, ROW_PX, this.#element.clientHeight][event.deltaMode] ?? 1;
    this.#moveTo(this.#offset + event.deltaY * unit);
  }

  #scrolled(): void {
    const top = this.#element.scrollTop;
    const step = top - this.#scrollTop;
    if (step === 0) return;
    this.#scrollTop = top;
    const isEnd = top <= 0 || top >= this.#scrollMax - 1;
    // A finger moves by pixels, the scroll bar by parts of the list.
    const isSmall = Math.abs(step) < this.#element.clientHeight;
    if (this.#ratio > 1 && isSmall && !isEnd) {
      this.#offset = Math.min(Math.max(0, this.#offset + step), this.#offsetMax);
      clearTimeout(this.#settle);
      this.#settle = setTimeout(() => this.#align(), SETTLE_MS);
    } else {
      this.#offset = Math.min(top * this.#ratio, this.#offsetMax);
      if (top >= this.#scrollMax - 1) this.#offset = this.#offsetMax;
    }
    this.#draw();
  }

  #resized(): void {
    this.#layer.style.height = `${this.#element.clientHeight}px`;
    const needed = Math.ceil(this.#element.clientHeight / ROW_PX) + 1;
    while (this.#shown.length < needed) this.#shown.push(this.#newRow());
    while (this.#shown.length > needed) this.#shown.pop()!.element.remove();
    this.#moveTo(this.#offset);
  }

  #newRow(): Shown {
    const element = document.createElement("div");
    element.setAttribute("role", "option");
    const cells = Object.fromEntries(
      CELLS.map((name) => {
        const cell = document.createElement("span");
        cell.className = name;
        element.append(cell);
        return [name, cell];
      }),
    ) as Shown["cells"];
    this.#layer.append(element);
    return { element, cells, row: undefined };
  }

  #draw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#drawNow();
    });
  }

  #drawNow(): void {
    const first = Math.floor(this.#offset / ROW_PX);
    const shift = first * ROW_PX - this.#offset;
    let isMissing = false;
    for (let index = 0; index < this.#shown.length; index++) {
      const shown = this.#shown[index]!;
      const at = first + index;
      const row = at < this.#count ? this.#rowAt(at) : undefined;
      shown.element.style.transform = `translateY(${shift + index * ROW_PX}px)`;
      if (row === undefined) {
        isMissing ||= at < this.#count;
        if (shown.row !== undefined || shown.element.className !== "row") this.#clear(shown);
      } else {
        this.#fill(shown, row);
      }
    }
    if (isMissing) void this.#ask();
  }

  #clear(shown: Shown): void {
    shown.row = undefined;
    shown.element.className = "row";
    for (const name of CELLS) shown.cells[name].textContent = "";
  }

  #fill(shown: Shown, row: Row): void {
    const kind = row.isInput ? "input" : "action";
    const classes = `row ${kind} ${row.tone} ${this.#source.classesOf(row)}`;
    if (shown.element.className !== classes) {
      shown.element.className = classes;
      shown.element.ariaSelected = String(classes.includes("selected"));
    }
    if (shown.row === row) return;
    shown.row = row;
    shown.cells.number.textContent = String(row.line + 1);
    shown.cells.time.textContent = row.isInput ? this.#source.timeText(row) : "";
    shown.cells.kind.textContent = row.kind;
    shown.cells.who.textContent = row.who;
    shown.cells.text.textContent = row.text;
  }

  /** One question at a time: fast scrolling asks only for what is in sight by then. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const version = this.#version;
    const first = Math.floor(this.#offset / ROW_PX / BLOCK_ROWS);
    const last = Math.floor((this.#offset + this.#element.clientHeight) / ROW_PX / BLOCK_ROWS);
    for (let block = first; block <= last; block++) {
      const known = this.#blocks.get(block);
      const due = Math.min(BLOCK_ROWS, this.#count - block * BLOCK_ROWS);
      if (due <= 0 || (known !== undefined && known.length >= due)) continue;
      const rows = await this.#source.rows(block * BLOCK_ROWS, BLOCK_ROWS);
      if (version !== this.#version) break;
      this.#blocks.set(block, rows);
      if (this.#blocks.size > BLOCKS_MAX) this.#blocks.delete(this.#blocks.keys().next().value!);
    }
    this.#isAsking = false;
    this.#draw();
  }
}
