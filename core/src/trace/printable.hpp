// Text of a trace in a form that is safe to print: traces are untrusted, and terminals interpret
// control characters.
#pragma once

#include <cstdio>
#include <string>

#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

/// Size in bytes and code of the character at `at`; 1 and the byte if it is not UTF-8.
inline std::size_t read_character(Bytes text, std::size_t at, u32& code) {
  const u8 first = static_cast<u8>(text[at]);
  code = first;
  const std::size_t size = first < 0xC2 || first > 0xF4 ? 1
                           : first < 0xE0               ? 2
                           : first < 0xF0               ? 3
                                                        : 4;
  if (size == 1 || !ion::is_utf8(text.substr(at, size))) return 1;
  code = first & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) code = code << 6 | (static_cast<u8>(text[at + i]) & 0x3Fu);
  return size;
}

/// Escapes as \x1b or \u202e: control characters, characters that change the writing direction, and
/// bytes that are not UTF-8. Cuts text longer than about `bytes_max`.
inline std::string printable(Bytes text, std::size_t bytes_max = Bytes::npos) {
  std::string out;
  u32 code = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (out.size() >= bytes_max) return out + "...";
    const std::size_t size = read_character(text, at, code);
    const bool is_control =
        code < 0x20 || (code >= 0x7F && code < 0xA0) || (size == 1 && code >= 0x80);
    const bool is_turn =
        size > 1 && (code == 0x061C || code == 0x200E || code == 0x200F ||
                     (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069));
    if (code == '\n') {
      out += "\\n";
    } else if (is_control || is_turn) {
      char escape[8];
      std::snprintf(escape, sizeof escape, is_turn ? "\\u%04x" : "\\x%02x",
                    static_cast<unsigned>(code));
      out += escape;
    } else {
      out += text.substr(at, size);
    }
    at += size;
  }
  return out;
}

}  // namespace sidekick::trace
