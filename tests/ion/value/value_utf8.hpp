// UTF-8, one code point at a time. Used by ion::Value only.
#pragma once

#include <string>

#include "sidekick/base.hpp"

namespace sidekick::ion {

constexpr bool is_high_surrogate(u32 code_point) {
  return code_point >= 0xD800 && code_point <= 0xDBFF;
}
constexpr bool is_low_surrogate(u32 code_point) {
  return code_point >= 0xDC00 && code_point <= 0xDFFF;
}
constexpr bool is_surrogate(u32 code_point) { return code_point >= 0xD800 && code_point <= 0xDFFF; }

struct Utf8 {
  u32 code_point = 0;
  u32 size = 0;  ///< 0: not UTF-8
};

/// Not valid in UTF-8; lone ones are valid in WTF-8, our form in memory.
enum class Surrogates : u8 { refused, allowed };

/// Decodes the first code point of `text`, which must not be empty. Rejects overlong forms and
/// values above U+10FFFF.
constexpr Utf8 decode_utf8(Bytes text, Surrogates surrogates) {
  const auto byte = [&](u32 i) { return static_cast<u8>(text[i]); };
  const u8 lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const u32 size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead > 0xF7 || text.size() < size) return {};
  u32 code_point = lead & (0x7Fu >> size);
  for (u32 i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  constexpr u32 lowest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code_point < lowest[size] || code_point > 0x10FFFF) return {};
  if (is_surrogate(code_point) && surrogates == Surrogates::refused) return {};
  return {code_point, size};
}

/// Encodes a surrogate as its three WTF-8 bytes.
inline void append_utf8(std::string& out, u32 code_point) {
  const auto append = [&](u32 byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    append(code_point);
    return;
  }
  if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      append(0xE0 | code_point >> 12);
    } else {
      append(0xF0 | code_point >> 18);
      append(0x80 | (code_point >> 12 & 0x3F));
    }
    append(0x80 | (code_point >> 6 & 0x3F));
  }
  append(0x80 | (code_point & 0x3F));
}

}  // namespace sidekick::ion
