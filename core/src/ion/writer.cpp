#include "ion/writer.hpp"

#include <string>

#include "sidekick/text.hpp"

namespace sidekick::ion {

namespace {

constexpr char hex_digits[] = "0123456789abcdef";

/// Writes the escape for a control character, quote or backslash into `buffer`.
Bytes escape_of(u8 byte, char (&buffer)[6]) {
  buffer[0] = '\\';
  switch (byte) {
    case '"':
      buffer[1] = '"';
      return Bytes(buffer, 2);
    case '\\':
      buffer[1] = '\\';
      return Bytes(buffer, 2);
    case '\b':
      buffer[1] = 'b';
      return Bytes(buffer, 2);
    case '\f':
      buffer[1] = 'f';
      return Bytes(buffer, 2);
    case '\n':
      buffer[1] = 'n';
      return Bytes(buffer, 2);
    case '\r':
      buffer[1] = 'r';
      return Bytes(buffer, 2);
    case '\t':
      buffer[1] = 't';
      return Bytes(buffer, 2);
    default:
      buffer[1] = 'u';
      buffer[2] = '0';
      buffer[3] = '0';
      buffer[4] = hex_digits[byte >> 4];
      buffer[5] = hex_digits[byte & 15];
      return Bytes(buffer, 6);
  }
}

/// Writes the \udxxx escape for the three WTF-8 bytes of a lone surrogate.
Bytes surrogate_escape(Bytes wtf8, char (&buffer)[6]) {
  const u32 code =
      0xD000u | (static_cast<u8>(wtf8[1]) & 0x3Fu) << 6 | (static_cast<u8>(wtf8[2]) & 0x3Fu);
  buffer[0] = '\\';
  buffer[1] = 'u';
  buffer[2] = 'd';
  buffer[3] = hex_digits[code >> 8 & 15];
  buffer[4] = hex_digits[code >> 4 & 15];
  buffer[5] = hex_digits[code & 15];
  return Bytes(buffer, 6);
}

bool is_surrogate_at(Bytes text, std::size_t at) {
  return static_cast<u8>(text[at]) == 0xED && at + 2 < text.size() &&
         static_cast<u8>(text[at + 1]) >= 0xA0;
}

bool is_plain(u8 byte) { return byte >= 0x20 && byte != '"' && byte != '\\'; }

}  // namespace

template <class Out>
void append_string(Out& out, Bytes text) {
  out.append("\"");
  char escapes[240];  // escapes are batched: a peer may send nothing but escapes
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t start = at;
    while (at < text.size() && is_plain(static_cast<u8>(text[at])) && !is_surrogate_at(text, at))
      ++at;
    out.append(text.substr(start, at - start));
    std::size_t used = 0;
    for (; at < text.size() && used + 6 <= sizeof escapes; ++at) {
      const u8 byte = static_cast<u8>(text[at]);
      char buffer[6];
      Bytes escape;
      if (!is_plain(byte)) {
        escape = escape_of(byte, buffer);
      } else if (is_surrogate_at(text, at)) {
        escape = surrogate_escape(text.substr(at, 3), buffer);
        at += 2;
      } else {
        break;
      }
      for (const char c : escape) escapes[used++] = c;
    }
    out.append(Bytes(escapes, used));
  }
  out.append("\"");
}

void append_strings(TextArena& out, std::span<const Bytes> texts) {
  Bytes separator = "[";
  for (const Bytes text : texts) {
    append_string(out.append(separator), text);
    separator = ", ";
  }
  out.append(texts.empty() ? "[]" : "]");
}

u64 encoded_size(Bytes text) {
  u64 size = text.size() + 2;
  char buffer[6];
  for (std::size_t at = 0; at < text.size(); ++at) {
    const u8 byte = static_cast<u8>(text[at]);
    if (!is_plain(byte)) size += escape_of(byte, buffer).size() - 1;
    if (is_surrogate_at(text, at)) size += 3;
  }
  return size;
}

template void append_string(std::string&, Bytes);
template void append_string(TextArena&, Bytes);

}  // namespace sidekick::ion
