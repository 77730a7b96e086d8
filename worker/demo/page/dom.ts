// The few functions with which the page reads and makes elements. Text that people typed enters the
// document as textContent, never as HTML.

export function element<E extends HTMLElement = HTMLElement>(selector: string): E {
  const found = document.querySelector<E>(selector);
  if (!found) throw new Error(`index.html has no ${selector}`);
  return found;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text = "",
  className = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function onSubmit(selector: string, act: () => Promise<void>): void {
  element<HTMLFormElement>(selector).addEventListener("submit", (event) => {
    event.preventDefault();
    void act();
  });
}
