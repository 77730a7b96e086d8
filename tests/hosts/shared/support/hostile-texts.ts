// Texts that a peer may put into a field of the log, by what they try.
export const hostileTexts: Readonly<Record<string, string>> = {
  "end the string and the object": '"}{"level":"error"',
  "end the line": "a\n2026 error forged\r\n",
  "end the line as JavaScript and viewers see it": "a\u2028b\u2029c\u0085d",
  "turn the text around": "\u202eabc\u2066\u200f\u061c",
  "control a terminal": "\u001b[2J\u009b2J\u007f\b",
  "end a C string": "a\0b",
  "be no Unicode": "\ud800a\udfff",
  "escape the escape": '\\"\\u000a\\',
  "be long": 'x"\n'.repeat(22_000), // 64 KiB
  "be long, and be cut within a character": `x${"\u{1f600}".repeat(20_000)}`,
};

/** Harmless: one line, no control, no bidirectional control, and not long. */
export const harmless =
  /^(?![^]*[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069])[^\p{Cc}]{1,3000}\n$/u;
