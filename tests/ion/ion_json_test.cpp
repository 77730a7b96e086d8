// The JSON subset of ION against nlohmann_json, on mutated JSON texts. ION_SEED=<number> and
// ION_COUNT=<number> repeat or lengthen a run.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sidekick/ion/reader.hpp"
#include "value/value.hpp"

namespace {

namespace ion = sidekick::ion;
using nlohmann::json;
using sidekick::Bytes;
using sidekick::u32;
using sidekick::u64;

constexpr u32 depth_max = 64;

u64 setting(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Random {
  u64 state;

  u64 next() {  // splitmix64
    u64 z = state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t limit) { return next() % limit; }
};

const std::vector<std::string> documents = {
    R"({"type":"send","token":"t","params":{"roomId":"123"},"data":[1,-2.5e3,true,false,null,"x"]})",
    R"([[],[[]],{},{"a":{}},"",0,-0,0.5,1e5,1E-5,123456789012345])",
    R"(["\"\\\/\b\f\n\r\t\u0000\u20ac\ud83d\ude00"," é€😀"])",
    " { \"a\" : [ 1 , 2 ] ,\r\n\t\"b\" : \"c\" } ",
    "1",
    "\"text\"",
};

// No words that exist only in ION: `map`, `set`, `date:`, `NaN`, `Infinity`.
const std::vector<std::string> tokens = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "-",
    "+",
    ".",
    "e",
    "0",
    "1",
    "01",
    "-0",
    "1.",
    ".5",
    "1e",
    "1e5",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"a\"",
    "\"a\":1",
    "\\u0041",
    "\\u12",
    "\\ud83d\\ude00",
    "\\x",
    "'",
    "//",
    "/**/",
    "é",
    "😀",
    "\u00a0",
    "\x01",
    "\x7f",
    "\x80",
    "\xc0\x80",
    "\xe2\x82",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xff",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
};

std::string mutate(Random& random) {
  std::string text = documents[random.below(documents.size())];
  for (std::size_t i = 1 + random.below(3); i > 0; --i) {
    const std::size_t at = random.below(text.size() + 1);
    switch (random.below(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
        break;
      case 1:
        text.erase(at, 1 + random.below(3));
        break;
      case 2:
        text.insert(at, text.substr(at, random.below(20)));
        break;
      default:
        text.insert(at, tokens[random.below(tokens.size())]);
        break;
    }
  }
  return text;
}

/// Cases in which nlohmann_json and ION disagree on purpose, or nlohmann_json deviates from JSON.
bool is_known_difference(Bytes text) {
  const auto has = [&](Bytes part) { return text.find(part) != Bytes::npos; };
  if (text.find('\0') != Bytes::npos) return true;  // nlohmann_json: end of text
  if (text.starts_with("\xEF\xBB\xBF"))
    return true;               // a byte order mark: nlohmann_json skips it, ION rejects it
  for (const char c : text) {  // inside a string: ION accepts what its reference accepts
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') return true;
  }
  u32 depth = 0;
  u32 deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (static_cast<unsigned char>(c) < 0x20) return true;
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  if (deepest > depth_max) return true;  // nlohmann_json has no limit
  if (has("\\ud") || has("\\uD"))
    return true;  // a lone surrogate: ION keeps it, nlohmann_json rejects it
  if (has("__proto__") || has("constructor") || has("prototype")) return true;
  const auto parsed =
      ion::parse(text, {depth_max});  // 1e400: infinity in ION, rejected by nlohmann_json
  return parsed.ok() && ion::print(*parsed.value).find("Infinity") != Bytes::npos;
}

/// nlohmann_json keeps integers as 64-bit integers, ION as doubles: up to 15 digits both are exact.
bool has_long_number(Bytes text) {
  std::size_t run = 0;
  for (const char c : text) {
    run = c >= '0' && c <= '9' ? run + 1 : 0;
    if (run > 15) return true;
  }
  return false;
}

bool accepts_core(Bytes text) { return ion::validate(text, depth_max).ok(); }
bool accepts_value(Bytes text) { return ion::parse(text, {depth_max}).ok(); }

TEST_CASE("accepts the mutated JSON that nlohmann_json accepts, except for the known differences") {
  const u64 seed = setting("ION_SEED", 1);
  const u64 count = setting("ION_COUNT", 50'000);
  MESSAGE("ION_SEED=" << seed << " ION_COUNT=" << count);
  Random random{seed};
  u64 accepted = 0;
  u64 refused = 0;
  for (u64 i = 0; i < count; ++i) {
    const std::string text = mutate(random);
    const bool core = accepts_core(text);
    const bool value = accepts_value(text);
    if (core != value) {
      CAPTURE(text);
      FAIL_CHECK("our two readers disagree");
    }
    if (is_known_difference(text)) continue;
    const bool expected = json::accept(text);
    if (core != expected) {
      CAPTURE(text);
      CAPTURE(expected);
      FAIL_CHECK("nlohmann_json disagrees");
    }
    ++(expected ? accepted : refused);
    if (!expected || has_long_number(text)) continue;
    // The same value, too: what we print is JSON for the same data.
    const std::string printed = ion::print(*ion::parse(text, {depth_max}).value);
    if (json::parse(printed) != json::parse(text)) {
      CAPTURE(text);
      CAPTURE(printed);
      FAIL_CHECK("another value");
    }
  }
  MESSAGE("accepted " << accepted << ", refused " << refused);
  CHECK(accepted > count / 20);
  CHECK(refused > count / 20);
}

TEST_CASE("the known differences from nlohmann_json exist") {
  const std::string deep = std::string(depth_max + 1, '[') + std::string(depth_max + 1, ']');
  struct Row {
    std::string text;
    bool ion;
  };
  const std::vector<Row> rows = {
      {"\"a\tb\"", true},
      {"\"\x01\"", true},
      {R"("\ud800")", true},
      {"1e400", true},
      {"\xEF\xBB\xBF"
       "1",
       false},
      {R"({"__proto__":1})", false},
      {deep, false},
      {std::string("1\0", 2), false},
  };
  for (const auto& [text, ion] : rows) {
    CAPTURE(text);
    CHECK(is_known_difference(text));
    CHECK(accepts_core(text) == ion);
    CHECK(accepts_value(text) == ion);
    CHECK(json::accept(text) == !ion);
  }
}

}  // namespace
