#include "stand_in.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "hash_index.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

namespace {

/// A character, and how it was written.
struct Unit {
  u32 code = 0;      // Unicode, or of an invalid byte 0xFFFFFFFF
  bool is_escape = false;  // \uXXXX, two of them beyond U+FFFF
  Bytes written;
};

struct Range {
  u32 first;
  u32 count;
};

/// The characters that may stand for this one; none for what stays.
Range range_of(u32 code) {
  if (code >= 'a' && code <= 'z') return {'a', 26};
  if (code >= 'A' && code <= 'Z') return {'A', 26};
  if (code >= '0' && code <= '9') return {'0', 10};
  if (code < 0xA0) return {0, 0};
  if (code < 0x800) return {0xA0, 0x800 - 0xA0};
  if (code < 0xD800) return {0x800, 0xD800 - 0x800};
  if (code < 0xE000) return {0, 0};  // half a pair
  if (code < 0x10000) return {0xE000, 0x2000};
  if (code < 0x110000) return {0x10000, 0x100000};
  return {0, 0};
}

void append_utf8(std::string& out, u32 code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

void append_escape(std::string& out, u32 unit) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[unit >> shift & 15];
}

Unit read_utf8(Bytes text) {
  const u8 first = static_cast<u8>(text[0]);
  const std::size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (size > text.size() || !ion::is_utf8(text.substr(0, size))) return {0xFFFFFFFF, false, text.substr(0, 1)};
  u32 code = size == 1 ? first : first & (0xFF >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) code = code << 6 | (static_cast<u8>(text[i]) & 63);
  return {code, false, text.substr(0, size)};
}

/// \uXXXX as a number; text has at least that, as a reader has seen.
u32 read_hex(Bytes text) {
  u32 number = 0;
  for (const char c : text.substr(2, 4)) number = number << 4 | static_cast<u32>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  return number;
}

Unit read_escape(Bytes text) {
  constexpr Bytes names = "\"\\/bfnrt";
  constexpr Bytes values = "\"\\/\b\f\n\r\t";
  if (text[1] != 'u') return {static_cast<u8>(values[std::min(names.find(text[1]), values.size() - 1)]), true, text.substr(0, 2)};
  const u32 high = read_hex(text);
  const bool has_low = high >= 0xD800 && high < 0xDC00 && text.size() >= 12 && text[6] == '\\' && text[7] == 'u';
  const u32 low = has_low ? read_hex(text.substr(6)) : 0;
  if (low < 0xDC00 || low >= 0xE000) return {high, true, text.substr(0, 6)};
  return {0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), true, text.substr(0, 12)};
}

std::vector<Unit> read_units(Bytes text, bool has_escapes) {
  std::vector<Unit> units;
  for (std::size_t at = 0; at < text.size();) {
    units.push_back(has_escapes && text[at] == '\\' ? read_escape(text.substr(at)) : read_utf8(text.substr(at)));
    at += units.back().written.size();
  }
  return units;
}

std::string replaced(u64 key, std::vector<Unit> units) {
  // Once from each end, each character moved by what those passed before it are: so all depend on all, and all can be told apart.
  u64 state = hash_bytes(key, "");
  for (const Unit& unit : units) state = hash_number(state, range_of(unit.code).first);  // the kinds, which stay
  std::vector<u32> codes;
  for (const Unit& unit : units) codes.push_back(unit.code);
  for (int pass = 0; pass < 2; ++pass) {
    u64 chain = hash_number(state, static_cast<u32>(pass));
    for (u32& code : codes) {
      const Range range = range_of(code);
      const u32 before = code;
      if (range.count > 0) {
        char bytes[8];
        for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(chain >> 8 * i);
        code = range.first + (code - range.first + static_cast<u32>(hash_bytes(key, Bytes(bytes, 8)) % range.count)) % range.count;
      }
      chain = hash_number(chain, before);
    }
    std::reverse(codes.begin(), codes.end());
  }
  std::string out;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const Unit& unit = units[i];
    if (codes[i] == unit.code) {
      out += unit.written;
    } else if (!unit.is_escape) {
      append_utf8(out, codes[i]);
    } else if (codes[i] < 0x10000) {
      append_escape(out, codes[i]);
    } else {
      append_escape(out, 0xD800 + ((codes[i] - 0x10000) >> 10));
      append_escape(out, 0xDC00 + ((codes[i] - 0x10000) & 0x3FF));
    }
  }
  return out;
}

/// What has a meaning in a message, a record or an answer. Members of what users made up are not looked up here.
constexpr Bytes member_names[] = {"type",   "token",       "channel",   "params",         "data",  "context", "resources",
                                  "tokens", "tokens_gone", "resources_gone", "fault", "message", "error"};
constexpr Bytes meanings[] = {"subscribe", "unsubscribe", "send", "listen", "unlisten", "ping", "client", "server", "sidekick"};
/// What makes a text one that is no ION, or is part of its syntax: a stand-in would be refused for another reason.
constexpr Bytes words[] = {"__proto__", "constructor", "prototype", "null", "true", "false", "NaN", "Infinity", "date", "map", "set"};

bool is_one_of(Bytes text, const auto& list) { return std::find(std::begin(list), std::end(list), text) != std::end(list); }

class Document {
 public:
  Document(Bytes text, const StandIns& stand_ins) : text_(text), stand_ins_(stand_ins) {}

  /// Empty where the text is no ION document.
  std::string run() {
    if (!ion::validate(text_, ion::depth_ceiling).ok()) return "";
    walk();
    return std::move(out_);
  }

 private:
  // A scan for the strings, numbers and words of a text known to be valid: all else is punctuation and stays.
  void walk() {
    std::size_t depth = 0;
    bool is_key = false;
    std::string member;
    std::vector<char> open;
    for (std::size_t at = 0; at < text_.size();) {
      const char c = text_[at];
      if (c == '"') {
        const std::size_t end = end_of_string(at + 1);
        const Bytes raw = text_.substr(at + 1, end - at - 1);
        std::string decoded;
        ion::append_decoded(decoded, raw);
        const bool is_member = is_key && depth == 1;
        const bool is_meant = is_member ? is_one_of(decoded, member_names)
                                        : depth == 1 && (member == "type" || member == "fault") && is_one_of(decoded, meanings);
        out_ += '"';
        out_ += is_meant ? std::string(raw) : stand_ins_.of_raw_string(raw);
        out_ += '"';
        if (is_member) member = is_meant ? decoded : "";
        at = end + 1;
        continue;
      }
      if (c == '{' || c == '[') {
        ++depth;
        open.push_back(c);
        is_key = c == '{';
      } else if (c == '}' || c == ']') {
        --depth;
        open.pop_back();
      } else if (c == ',') {
        is_key = !open.empty() && open.back() == '{';
      } else if (c == ':') {
        is_key = false;
      } else if (c == '-' || (c >= '0' && c <= '9')) {
        at = append_number(at);
        continue;
      } else if (text_.substr(at).starts_with("date:")) {
        at = append_date(at);
        continue;
      }
      out_ += c;
      ++at;
    }
  }

  std::size_t end_of_string(std::size_t at) const {
    while (text_[at] != '"') at += text_[at] == '\\' ? 2 : 1;
    return at;
  }

  /// Its digits but a leading 0 and the exponent.
  std::size_t append_number(std::size_t at) {
    std::size_t end = at;
    while (end < text_.size() && (text_[end] == '-' || text_[end] == '.' || (text_[end] >= '0' && text_[end] <= '9'))) ++end;
    const std::string digits = stand_ins_.of(text_.substr(at, end - at));
    bool is_first = true;
    for (std::size_t i = at; i < end; ++i) {
      const bool is_digit = text_[i] >= '0' && text_[i] <= '9';
      char digit = digits[i - at];
      if (is_first && is_digit) {
        digit = text_[i] == '0' ? '0' : static_cast<char>('1' + (digit - '0') % 9);
        is_first = false;
      }
      out_ += digit;
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      do {
        out_ += text_[end++];
      } while (end < text_.size() && (text_[end] == '-' || text_[end] == '+' || (text_[end] >= '0' && text_[end] <= '9')));
    }
    return end;
  }

  /// Another date that is one: no day after the 9th, no time after 09:09:09.
  std::size_t append_date(std::size_t at) {
    std::size_t end = at + 5;
    out_ += "date:";
    while (end < text_.size() && Bytes("0123456789-+:.TZ").find(text_[end]) != Bytes::npos) ++end;
    const Bytes date = text_.substr(at + 5, end - at - 5);
    const std::string digits = stand_ins_.of(date);
    const bool is_long_year = date[0] == '+' || date[0] == '-';
    const std::size_t year_end = is_long_year ? 7 : 4;
    for (std::size_t i = 0; i < date.size(); ++i) {
      if (date[i] < '0' || date[i] > '9') {
        out_ += date[i];
      } else if (i < year_end) {
        out_ += is_long_year && i < 3 ? '0' : i + 1 == year_end ? static_cast<char>('1' + (digits[i] - '0') % 9) : digits[i];
      } else if (date.rfind('.', i) != Bytes::npos && date.find_first_of("+-Z", date.rfind('.', i)) > i) {
        out_ += digits[i];
      } else {
        const bool is_tens = date[i - 1] < '0' || date[i - 1] > '9';
        out_ += is_tens ? '0' : static_cast<char>('1' + (digits[i] - '0') % 9);
      }
    }
    return end;
  }

  Bytes text_;
  const StandIns& stand_ins_;
  std::string out_;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_in_word(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c); }

/// Of a text that is refused: what it may be refused for stays, so leading zeros and exponents as well.
void append_word(std::string& out, Bytes word, const StandIns& stand_ins) {
  if (is_one_of(word, member_names) || is_one_of(word, meanings) || is_one_of(word, words)) {
    out += word;
    return;
  }
  const std::string stand_in = stand_ins.of(word);
  if (!is_digit(word[0])) {
    out += stand_in;
    return;
  }
  for (std::size_t i = 0; i < word.size(); ++i) out += !is_digit(word[i]) || word[i] == '0' ? word[i] : static_cast<char>('1' + (stand_in[i] - '0') % 9);
}

}  // namespace

StandIns::StandIns(Bytes key) : key_(hash_bytes(0, key)) {}

std::string StandIns::of(Bytes text) const { return replaced(key_, read_units(text, false)); }

std::string StandIns::of_raw_string(Bytes raw) const { return replaced(key_, read_units(raw, true)); }

std::string StandIns::of_document(Bytes text) const {
  std::string document = Document(text, *this).run();
  if (!document.empty()) return document;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    if (text[at] == '\\') {
      end = std::min(at + (text.substr(at).starts_with("\\u") ? 6 : 2), text.size());
      document += text.substr(at, end - at);
    } else {
      while (end < text.size() && text[end] != '\\' && is_in_word(text[end]) == is_in_word(text[at])) ++end;
      append_word(document, text.substr(at, end - at), *this);
    }
    at = end;
  }
  return document;
}

}  // namespace sidekick::trace
