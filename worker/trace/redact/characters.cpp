#include "redact/characters.hpp"

#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

namespace {

/// A list of characters, or the `count` from `first` on.
struct Alphabet {
  Bytes list;
  u32 first = 0;
  u32 count = 0;
};

constexpr Bytes alphanumerics = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
constexpr Bytes digits = "0123456789";

Alphabet alphabet_of(Kind kind) {
  switch (kind) {
    case Kind::fixed:
      return {"", 0, 1};
    case Kind::alphanumeric:
      return {alphanumerics};
    case Kind::sign:
      return {" !#$%&'()*+-.;<=>?@[]^_`{|}~"};
    case Kind::control:
      return {
          Bytes("\0\1\2\3\4\5\6\7\x0b\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c"
                "\x1d\x1e\x1f",
                27)};
    case Kind::c1_control:
      return {"", 0x80, 0x20};
    case Kind::two_bytes:
      return {"", 0xA0, 0x800 - 0xA0};
    case Kind::three_bytes:
      return {"", 0x800, 0xD800 - 0x800};
    case Kind::three_bytes_high:
      return {"", 0xE000, 0x2000};
    case Kind::four_bytes:
      return {"", 0x10000, 0x100000};
    case Kind::high_surrogate:
      return {"", 0xD800, 0x400};
    case Kind::low_surrogate:
      return {"", 0xDC00, 0x400};
    case Kind::digit:
      return {digits};
    case Kind::first_digit:
      return {digits.substr(1)};
    case Kind::up_to_1:
      return {digits.substr(0, 2)};
    case Kind::up_to_2:
      return {digits.substr(0, 3)};
    case Kind::up_to_3:
      return {digits.substr(0, 4)};
    case Kind::up_to_5:
      return {digits.substr(0, 6)};
    case Kind::letter:
      return {alphanumerics.substr(0, 52)};
    case Kind::hex_digit:
      return {"0123456789abcdefABCDEF"};
    case Kind::no_hex_digit:
      return {"ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ"};
    case Kind::no_escape:
      return {"acdeghijklmopqsvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"};
    case Kind::no_utf8:
      return {"\xC0\xC1\xF5\xF6\xF7\xF8\xF9\xFA\xFB\xFC\xFD\xFE\xFF"};
  }
  trap();
}

bool is_digit(u32 code) { return code >= '0' && code <= '9'; }
bool is_letter(u32 code) { return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z'); }
bool is_hex_digit(u32 code) {
  return is_digit(code) || (code >= 'a' && code <= 'f') || (code >= 'A' && code <= 'F');
}

Kind kind_of(u32 code) {
  if (is_digit(code) || is_letter(code)) return Kind::alphanumeric;
  if (code < 0x80 && (Bytes("\"\\,:/\b\t\n\f\r\x7f").find(static_cast<char>(code)) != Bytes::npos))
    return Kind::fixed;
  for (const Kind kind :
       {Kind::two_bytes, Kind::three_bytes, Kind::three_bytes_high, Kind::four_bytes,
        Kind::high_surrogate, Kind::low_surrogate, Kind::c1_control}) {
    const Alphabet alphabet = alphabet_of(kind);
    if (code >= alphabet.first && code - alphabet.first < alphabet.count) return kind;
  }
  return code < 0x20 ? Kind::control : Kind::sign;
}

Place read_character(Bytes text) {
  const u8 first = static_cast<u8>(text[0]);
  const std::size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (size > text.size() || !ion::is_utf8(text.substr(0, size)))
    return {first, Kind::no_utf8, 1, false};
  u32 code = size == 1 ? first : first & (0xFF >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) code = code << 6 | (static_cast<u8>(text[i]) & 63);
  return {code, kind_of(code), static_cast<u8>(size), false};
}

/// Whether the text begins with \uXXXX, and its code.
bool read_unicode_escape(Bytes text, u32& code) {
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return false;
  code = 0;
  for (const char c : text.substr(2, 4)) {
    if (!is_hex_digit(static_cast<u8>(c))) return false;
    code = code << 4 | static_cast<u32>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return true;
}

/// The character after a backslash; of an invalid escape, all of it.
void append_escape(std::vector<Place>& out, Bytes text) {
  const char name = text.size() > 1 ? text[1] : '\0';
  u32 code = 0;
  u32 low = 0;
  if (read_unicode_escape(text, code)) {
    const bool is_pair = code >= 0xD800 && code < 0xDC00 &&
                         read_unicode_escape(text.substr(6), low) && low >= 0xDC00 && low < 0xE000;
    if (is_pair) code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    return out.push_back({code, kind_of(code), static_cast<u8>(is_pair ? 12 : 6), true});
  }
  constexpr Bytes names = "\"\\/bfnrt";
  constexpr Bytes values = "\"\\/\b\f\n\r\t";
  if (const std::size_t at = names.find(name); name != '\0' && at != Bytes::npos)
    return out.push_back({static_cast<u8>(values[at]), Kind::fixed, 2, true});
  if (name != 'u') {
    out.push_back({'\\', Kind::fixed, 1, false});
    const Kind kind = kind_of(static_cast<u8>(name));
    if (text.size() > 1 && (kind == Kind::alphanumeric || kind == Kind::sign))
      out.push_back({static_cast<u8>(name), Kind::no_escape, 1, false});
    return;
  }
  out.push_back({'u', Kind::fixed, 2, true});
  std::size_t at = 2;
  for (; at < text.size() && is_hex_digit(static_cast<u8>(text[at])); ++at)
    out.push_back({static_cast<u8>(text[at]), Kind::hex_digit, 1, false});
  if (at < text.size() && is_letter(static_cast<u8>(text[at])))
    out.push_back({static_cast<u8>(text[at]), Kind::no_hex_digit, 1, false});
}

void append_text(std::vector<Place>& out, Bytes written, bool has_escapes) {
  for (std::size_t at = 0; at < written.size();) {
    const std::size_t before = out.size();
    if (has_escapes && written[at] == '\\') {
      append_escape(out, written.substr(at));
    } else {
      out.push_back(read_character(written.substr(at)));
    }
    for (std::size_t i = before; i < out.size(); ++i) at += out[i].size;
  }
}

/// A number that begins with 0 must not begin with another digit, and vice versa, unless it is the
/// only one before the point.
void append_number(std::vector<Place>& out, Bytes written) {
  for (std::size_t at = 0; at < written.size(); ++at) {
    const bool is_first = at == 0 || (at == 1 && written[0] == '-');
    const bool is_only = at + 1 == written.size() || !is_digit(static_cast<u8>(written[at + 1]));
    const Kind kind = !is_digit(static_cast<u8>(written[at])) ? Kind::fixed
                      : is_first && !is_only                  ? Kind::first_digit
                                                              : Kind::digit;
    out.push_back({static_cast<u8>(written[at]), kind, 1, false});
  }
}

/// Tens within their maximum; the caller rejects impossible dates such as February 30.
void append_date(std::vector<Place>& out, Bytes written) {
  const bool is_long_year = written[0] == '+' || written[0] == '-';
  const std::size_t year_end = is_long_year ? 7 : 4;
  Kind tens = Kind::digit;
  bool has_time = false;
  bool is_fraction = false;
  for (std::size_t at = 0; at < written.size(); ++at) {
    const char c = written[at];
    Kind kind = Kind::fixed;
    if (is_digit(static_cast<u8>(c))) {
      const bool is_tens =
          at >= year_end && !is_fraction && !is_digit(static_cast<u8>(written[at - 1]));
      kind = is_tens ? tens : is_long_year && at == 1 ? Kind::up_to_2 : Kind::digit;
    } else if (at >= year_end) {
      has_time |= c == 'T';
      is_fraction = c == '.';
      tens = !has_time  ? (tens == Kind::digit ? Kind::up_to_1 : Kind::up_to_3)
             : c == ':' ? Kind::up_to_5
                        : Kind::up_to_2;
    }
    out.push_back({static_cast<u8>(c), kind, 1, false});
  }
}

/// Digits stay digits and letters stay letters, since they decide the error.
void append_word(std::vector<Place>& out, Bytes written) {
  const std::size_t before = out.size();
  append_text(out, written, false);
  for (std::size_t i = before; i < out.size(); ++i) {
    Place& place = out[i];
    if (is_digit(place.code)) place.kind = Kind::digit;
    if (is_letter(place.code)) place.kind = Kind::letter;
    if (place.code == '-' || place.code == '+' || place.code == '.') place.kind = Kind::fixed;
  }
}

void append_utf8(std::string& out, u32 code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr u8 leads[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(leads[more] | code >> 6 * more);
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> 6 * i & 63));
}

void append_hex(std::string& out, u32 unit) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[unit >> shift & 15];
}

}  // namespace

void append_places(std::vector<Place>& out, Bytes written, Writing writing) {
  switch (writing) {
    case Writing::fixed:
      return;
    case Writing::plain:
      return append_text(out, written, false);
    case Writing::string:
      return append_text(out, written, true);
    case Writing::number:
      return append_number(out, written);
    case Writing::date:
      return append_date(out, written);
    case Writing::word:
      return append_word(out, written);
  }
}

u32 count_of(Kind kind) {
  const Alphabet alphabet = alphabet_of(kind);
  return alphabet.list.empty() ? alphabet.count : static_cast<u32>(alphabet.list.size());
}

u32 index_of(const Place& place) {
  const Alphabet alphabet = alphabet_of(place.kind);
  if (place.kind == Kind::fixed) return 0;
  if (alphabet.list.empty()) return place.code - alphabet.first;
  const std::size_t at = alphabet.list.find(static_cast<char>(place.code));
  return at == Bytes::npos ? place.code % static_cast<u32>(alphabet.list.size())
                           : static_cast<u32>(at);
}

u32 code_at(Kind kind, u32 index) {
  const Alphabet alphabet = alphabet_of(kind);
  return alphabet.list.empty() ? alphabet.first + index : static_cast<u8>(alphabet.list[index]);
}

void append_code(std::string& out, const Place& place, u32 code) {
  if (place.kind == Kind::no_utf8) {
    out += static_cast<char>(code);
  } else if (!place.is_escape) {
    append_utf8(out, code);
  } else if (code < 0x10000) {
    append_hex(out, code);
  } else {
    append_hex(out, 0xD800 + ((code - 0x10000) >> 10));
    append_hex(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
  }
}

}  // namespace sidekick::trace
