// The parts of ION outside the one pass: decoding strings, and error texts.
#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

#include <cstring>

namespace sidekick::ion {

namespace {

/// The digit must have been validated by the reader.
constexpr u32 hex_value(char c) {
  return static_cast<u32>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

void append_utf8(std::string& out, u32 code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

u32 read_hex4(const char* at) {
  u32 code = 0;
  for (int i = 0; i < 4; ++i) code = code << 4 | hex_value(at[i]);
  return code;
}

}  // namespace

void append_decoded(std::string& out, Bytes raw) {
  const char* at = raw.data();
  const char* end = at + raw.size();
  while (at < end) {
    const void* slash = std::memchr(at, '\\', static_cast<std::size_t>(end - at));
    const char* stop = slash == nullptr ? end : static_cast<const char*>(slash);
    out.append(at, static_cast<std::size_t>(stop - at));
    if (stop == end) return;
    at = stop + 2;
    switch (stop[1]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        u32 code = read_hex4(at);
        at += 4;
        const bool is_high = code >= 0xD800 && code < 0xDC00;
        if (is_high && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
          const u32 low = read_hex4(at + 2);
          if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
          }
        }
        append_utf8(out, code);
        break;
      }
      default:
        out += stop[1];
        break;  // '"', '\\', '/'
    }
  }
}

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a string";
    case Kind::date:
      return "a date";
    case Kind::array:
      return "an array";
    case Kind::object:
      return "an object";
    case Kind::map:
      return "a map";
    case Kind::set:
      return "a set";
  }
  trap();
}

namespace {

const char* expectation(Fault fault) {
  switch (fault) {
    case Fault::none:
      return "no fault";
    case Fault::value:
      return "a value";
    case Fault::key:
      return "a string as an object key";
    case Fault::colon:
      return "':'";
    case Fault::comma_or_brace:
      return "',' or '}'";
    case Fault::comma_or_bracket:
      return "',' or ']'";
    case Fault::brace_after_word:
      return "'{' after map or set";
    case Fault::closing_quote:
      return "the closing '\"' of a string";
    case Fault::escape:
      return "one of \" \\ / b f n r t u after a backslash";
    case Fault::hex_digit:
      return "four hex digits after \\u";
    case Fault::utf8:
      return "well-formed UTF-8";
    case Fault::digit:
      return "a digit";
    case Fault::date:
      return "a valid ISO 8601 date such as date:2026-01-27T15:30:00.000Z";
    case Fault::allowed_key:
      return "a key other than __proto__, constructor and prototype";
    case Fault::less_depth:
      return "less nesting";
    case Fault::end:
      return "end of text";
  }
  trap();
}

}  // namespace

std::string describe(Verdict verdict, Bytes text, u32 depth_max, Bytes limit_name) {
  std::string out = "expected ";
  if (verdict.fault == Fault::less_depth) {
    append_form(out, "at most % levels of nesting", depth_max);
    if (!limit_name.empty()) append_form(out, " (%)", limit_name);
  } else {
    out += expectation(verdict.fault);
  }
  if (verdict.offset >= text.size()) {
    out += ", found end of text";
  } else {
    const u8 byte = static_cast<u8>(text[verdict.offset]);
    if (byte > 0x20 && byte < 0x7F) {
      append_form(out, ", found '%'", text.substr(verdict.offset, 1));
    } else {
      constexpr char hex[] = "0123456789abcdef";
      out += ", found byte 0x";
      out += hex[byte >> 4];
      out += hex[byte & 15];
    }
  }
  append_form(out, " at byte %", verdict.offset);
  return out;
}

}  // namespace sidekick::ion
