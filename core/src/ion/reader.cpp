// The reader's one pass. The text bounds every loop; the only stack is `frames_`.
#include "sidekick/ion/reader.hpp"

#include <cstring>

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sidekick::ion {

namespace {

constexpr bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

using Block = u8 __attribute__((vector_size(16)));
using BlockMask = signed char __attribute__((vector_size(16)));  // each byte 0 or -1

/// A bit for each byte of the mask.
u32 bits_of(BlockMask mask) {
#if defined(__wasm_simd128__)
  return wasm_i8x16_bitmask(reinterpret_cast<v128_t>(mask));
#elif defined(__SSE2__)
  return static_cast<u32>(_mm_movemask_epi8(reinterpret_cast<__m128i>(mask)));
#else
  u32 bits = 0;
  for (u32 i = 0; i < 16; ++i) bits |= (mask[i] & 1u) << i;
  return bits;
#endif
}

/// Returns the first byte in [at, end) that needs attention inside a string: '"', '\' or the start
/// of a multi-byte character.
const char* find_special(const char* at, const char* end) {
  while (end - at >= 16) {
    Block block;
    std::memcpy(&block, at, 16);
    const u32 special = bits_of((block == '"') | (block == '\\') | (block >= 0x80));
    if (special != 0) return at + __builtin_ctz(special);
    at += 16;
  }
  while (at < end && *at != '"' && *at != '\\' && static_cast<u8>(*at) < 0x80) ++at;
  return at;
}

/// Skips multi-byte characters (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing
/// above U+10FFFF). False: `at` points to a malformed one.
bool skip_multibyte(const char*& at, const char* end) {
  while (at < end && static_cast<u8>(*at) >= 0x80) {
    const u8 lead = static_cast<u8>(*at);
    u32 size = 0;
    u8 low = 0x80;
    u8 high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      size = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      size = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      size = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (static_cast<std::size_t>(end - at) < size) return false;
    const u8 second = static_cast<u8>(at[1]);
    if (second < low || second > high) return false;
    for (u32 i = 2; i < size; ++i) {
      if ((static_cast<u8>(at[i]) & 0xC0) != 0x80) return false;
    }
    at += size;
  }
  return true;
}

bool is_forbidden(Bytes key) {
  return key == "__proto__" || key == "constructor" || key == "prototype";
}

/// These keys pollute prototypes in careless readers. The reference rejects them, so relaying one
/// would break its clients.
bool is_forbidden_key(const Slice& key) {
  if (!key.escaped) return is_forbidden(key.raw);
  if (key.raw.size() > 6 * Bytes("constructor").size())
    return false;  // each byte is at most one \uXXXX
  std::string decoded;
  append_decoded(decoded, key.raw);
  return is_forbidden(decoded);
}

}  // namespace

bool is_utf8(Bytes bytes) {
  const char* at = bytes.data();
  const char* end = at + bytes.size();
  while (at < end) {
    at = find_special(at, end);
    if (at < end && static_cast<u8>(*at) < 0x80) {
      ++at;
    } else if (!skip_multibyte(at, end)) {
      return false;
    }
  }
  return true;
}

Verdict validate(Bytes text, u32 depth_max) {
  Reader reader(text, depth_max);
  Slice value;
  if (reader.read(value)) reader.finish();
  return reader.verdict();
}

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): a frame is written when it is entered
Reader::Reader(Bytes text, u32 depth_max)
    : begin_(text.data()),
      at_(text.data()),
      end_(text.data() + text.size()),
      depth_max_(depth_max) {
  SIDEKICK_CHECK(depth_max <= depth_ceiling);
}

bool Reader::read(Slice& value) {
  if (!ok()) return false;
  skip_space();
  const char* start = at_;
  const u32 base = depth_;
  bool opened = false;
  if (!begin_value(value, opened)) return false;
  if (opened && !skip_tail(base)) return false;
  if (value.kind == Kind::string) return true;
  value.raw = Bytes(start, static_cast<std::size_t>(at_ - start));
  return true;
}

/// Reads on from inside a container until the nesting is back at `base`.
bool Reader::skip_tail(u32 base) {
  Slice ignored;
  bool opened = true;
  for (;;) {
    // At this point a value has just started as an open container, or has just ended.
    if (opened) {
      skip_space();
      const Frame frame = frames_[depth_ - 1];
      const char closing = frame == Frame::array ? ']' : '}';
      if (at_ < end_ && *at_ == closing) {
        ++at_;
        --depth_;
      } else {
        if (frame == Frame::object && !read_key(ignored)) return false;
        if (!begin_value(ignored, opened)) return false;
        continue;
      }
    }
    bool next = false;
    while (!next) {
      if (depth_ == base) return true;
      skip_space();
      const char c = at_ < end_ ? *at_ : '\0';
      Frame& frame = frames_[depth_ - 1];
      switch (frame) {
        case Frame::object:
          if (c == ',') {
            ++at_;
            if (!read_key(ignored)) return false;
            next = true;
          } else if (c == '}') {
            ++at_;
            --depth_;
          } else {
            return fail(Fault::comma_or_brace, at_);
          }
          break;
        case Frame::array:
          if (c == ',') {
            ++at_;
            next = true;
          } else if (c == ']') {
            ++at_;
            --depth_;
          } else {
            return fail(Fault::comma_or_bracket, at_);
          }
          break;
        case Frame::map_key:
          if (c != ':') return fail(Fault::colon, at_);
          ++at_;
          frame = Frame::map_value;
          next = true;
          break;
        case Frame::map_value:
        case Frame::set:
          if (c == ',') {
            ++at_;
            if (frame == Frame::map_value) frame = Frame::map_key;
            next = true;
          } else if (c == '}') {
            ++at_;
            --depth_;
          } else {
            return fail(Fault::comma_or_brace, at_);
          }
          break;
      }
    }
    if (!begin_value(ignored, opened)) return false;
  }
}

/// Reads a whole scalar, or the start of a container (`opened`).
bool Reader::begin_value(Slice& value, bool& opened) {
  opened = false;
  if (!peek(value.kind)) return false;
  switch (value.kind) {
    case Kind::string:
      return read_string(value);
    case Kind::number:
      return read_number();
    case Kind::object:
      ++at_;
      opened = true;
      return push(Frame::object);
    case Kind::array:
      ++at_;
      opened = true;
      return push(Frame::array);
    case Kind::boolean:
      return read_word(*at_ == 't' ? "true" : "false");
    case Kind::null:
      return read_word("null");
    case Kind::date:
      return read_date();
    case Kind::map:
      opened = true;
      return open_after_word(3, Frame::map_key);
    case Kind::set:
      opened = true;
      return open_after_word(3, Frame::set);
  }
  trap();
}

bool Reader::peek(Kind& kind) {
  if (!ok()) return false;
  skip_space();
  switch (at_ < end_ ? *at_ : '\0') {
    case '"':
      kind = Kind::string;
      return true;
    case '{':
      kind = Kind::object;
      return true;
    case '[':
      kind = Kind::array;
      return true;
    case 't':
    case 'f':
      kind = Kind::boolean;
      return true;
    case 'n':
      kind = Kind::null;
      return true;
    case 'd':
      kind = Kind::date;
      return true;
    case 'm':
      kind = Kind::map;
      return true;
    case 's':
      kind = Kind::set;
      return true;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
    case 'N':
    case 'I':
      kind = Kind::number;
      return true;
    default:
      return fail(Fault::value, at_);
  }
}

bool Reader::enter(char bracket) {
  if (!ok()) return false;
  skip_space();
  if (at_ == end_ || *at_ != bracket) return fail(Fault::value, at_);
  ++at_;
  fresh_ = true;
  return push(bracket == '{' ? Frame::object : Frame::array);
}

bool Reader::next_member(Slice& key) {
  if (!ok()) return false;
  skip_space();
  const char c = at_ < end_ ? *at_ : '\0';
  if (c == '}') {
    ++at_;
    --depth_;
    fresh_ = false;
    return false;
  }
  if (!fresh_) {
    if (c != ',') return fail(Fault::comma_or_brace, at_);
    ++at_;
  }
  fresh_ = false;
  return read_key(key);
}

bool Reader::next_element() {
  if (!ok()) return false;
  skip_space();
  const char c = at_ < end_ ? *at_ : '\0';
  if (c == ']') {
    // `[1,]` does not get here: after a comma the next call reads a value.
    ++at_;
    --depth_;
    fresh_ = false;
    return false;
  }
  if (!fresh_) {
    if (c != ',') return fail(Fault::comma_or_bracket, at_);
    ++at_;
  }
  fresh_ = false;
  return true;
}

bool Reader::finish() {
  if (!ok()) return false;
  skip_space();
  return at_ == end_ || fail(Fault::end, at_);
}

bool Reader::fail(Fault fault, const char* at) {
  verdict_ = Verdict{fault, static_cast<u32>(at - begin_)};
  return false;
}

inline void Reader::skip_space() {
  while (at_ < end_ && is_space(*at_)) ++at_;
}

bool Reader::push(Frame frame) {
  if (depth_ >= depth_max_) return fail(Fault::less_depth, at_ - 1);
  frames_[depth_++] = frame;
  return true;
}

bool Reader::read_key(Slice& key) {
  skip_space();
  if (at_ == end_ || *at_ != '"') return fail(Fault::key, at_);
  const char* start = at_;
  if (!read_string(key)) return false;
  if (is_forbidden_key(key)) return fail(Fault::allowed_key, start);
  skip_space();
  if (at_ == end_ || *at_ != ':') return fail(Fault::colon, at_);
  ++at_;
  return true;
}

bool Reader::read_string(Slice& value) {
  const char* start = ++at_;
  value.kind = Kind::string;
  value.escaped = false;
  for (;;) {
    at_ = find_special(at_, end_);
    if (at_ == end_) return fail(Fault::closing_quote, at_);
    if (*at_ == '"') {
      value.raw = Bytes(start, static_cast<std::size_t>(at_ - start));
      ++at_;
      return true;
    }
    if (*at_ == '\\') {
      value.escaped = true;
      if (!read_escape()) return false;
    } else if (!skip_multibyte(at_, end_)) {
      return fail(Fault::utf8, at_);
    }
  }
}

bool Reader::read_escape() {
  ++at_;
  if (at_ == end_) return fail(Fault::closing_quote, at_);
  switch (*at_) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      ++at_;
      return true;
    case 'u':
      ++at_;
      for (int i = 0; i < 4; ++i, ++at_) {
        if (at_ == end_ || !is_hex_digit(*at_)) return fail(Fault::hex_digit, at_);
      }
      return true;
    default:
      return fail(Fault::escape, at_);
  }
}

/// JSON's number grammar plus NaN, Infinity and -Infinity. Never converted: numbers are relayed as
/// written.
bool Reader::read_number() {
  if (*at_ == 'N') return read_word("NaN");
  if (*at_ == '-') ++at_;
  if (at_ < end_ && *at_ == 'I') return read_word("Infinity");
  const auto digits = [this] {
    if (at_ == end_ || !is_digit(*at_)) return fail(Fault::digit, at_);
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return true;
  };
  if (at_ < end_ && *at_ == '0') {
    ++at_;
  } else if (!digits()) {
    return false;
  }
  if (at_ < end_ && *at_ == '.') {
    ++at_;
    if (!digits()) return false;
  }
  if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits()) return false;
  }
  return true;
}

bool Reader::read_date() {
  const char* start = at_;
  if (!read_word("date:")) return false;
  const char* text = at_;
  while (at_ < end_ && !is_space(*at_) && *at_ != ',' && *at_ != '}' && *at_ != ']') ++at_;
  if (!is_date(Bytes(text, static_cast<std::size_t>(at_ - text)))) return fail(Fault::date, start);
  return true;
}

bool Reader::read_word(Bytes word) {
  if (static_cast<std::size_t>(end_ - at_) < word.size() ||
      std::memcmp(at_, word.data(), word.size()) != 0) {
    return fail(Fault::value, at_);
  }
  at_ += word.size();
  return true;
}

bool Reader::open_after_word(u32 word_size, Frame frame) {
  if (!read_word(Bytes(frame == Frame::set ? "set" : "map", word_size))) return false;
  skip_space();
  if (at_ == end_ || *at_ != '{') return fail(Fault::brace_after_word, at_);
  ++at_;
  return push(frame);
}

}  // namespace sidekick::ion
