// Texts that peers have sent, for terminals and viewers.

/**
 * One character that they act on: a control, a line separator, or a mark that changes the writing
 * direction. The same as in core/src/trace/printable.hpp and worker/native/log.cpp.
 */
export const ACTED_ON = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

// U+FFFD stands for bytes that are not UTF-8.
const ESCAPED = new RegExp(`${ACTED_ON.source}|\ufffd`, "gu");

/** Shows them as \x1b or \u202e. */
export function printable(text: string, characters = ESCAPED): string {
  return text.replace(characters, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
