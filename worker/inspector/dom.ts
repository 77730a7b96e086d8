// Makes elements. Inserts all text as text, never as HTML: recordings may come from anyone.

type Child = Node | string | undefined;

export function make<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  className: string,
  ...children: Child[]
): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

export function button(text: string, onClick: () => void, className = ""): HTMLButtonElement {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** One row for each entry; a head of these names. */
export function table(head: readonly string[], rows: readonly HTMLTableRowElement[]) {
  const names = make("tr", "", ...head.map((name) => make("th", "", name)));
  return make("table", "", make("thead", "", names), make("tbody", "", ...rows));
}

export function count(number: number): string {
  return number.toLocaleString("en");
}

export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
