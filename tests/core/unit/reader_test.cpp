// The hub's ION reader: the pull calls, the faults and their offsets. The accepted language is
// tested by tests/ion/corpus.
#include <doctest/doctest.h>

#include "ion/writer.hpp"
#include "scenario.hpp"
#include "sidekick/ion/reader.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::ion;
using test::Random;
using test::repeat;

std::string verdict_of(Bytes text, u32 depth_max = 256) {
  const ion::Verdict verdict = validate(text, depth_max);
  return verdict.ok() ? "accepted" : describe(verdict, text, depth_max);
}

TEST_CASE("every fault names what was expected, what was found and the byte offset") {
  CHECK(verdict_of("{}") == "accepted");
  CHECK(verdict_of("") == "expected a value, found end of text at byte 0");
  CHECK(verdict_of("  \x01") == "expected a value, found byte 0x01 at byte 2");
  CHECK(verdict_of("[1, x]") == "expected a value, found 'x' at byte 4");
  CHECK(verdict_of("trye") == "expected a value, found 't' at byte 0");
  CHECK(verdict_of("nul") == "expected a value, found 'n' at byte 0");
  CHECK(verdict_of("Inf") == "expected a value, found 'I' at byte 0");
  CHECK(verdict_of("-Inf") == "expected a value, found 'I' at byte 1");
  CHECK(verdict_of("{ a: 1 }") == "expected a string as an object key, found 'a' at byte 2");
  CHECK(verdict_of("{\"a\":1,}") == "expected a string as an object key, found '}' at byte 7");
  CHECK(verdict_of("{\"a\" 1}") == "expected ':', found '1' at byte 5");
  CHECK(verdict_of("map { 1, 2 }") == "expected ':', found ',' at byte 7");
  CHECK(verdict_of("{\"a\":1 \"b\":2}") == "expected ',' or '}', found '\"' at byte 7");
  CHECK(verdict_of("set { 1 2 }") == "expected ',' or '}', found '2' at byte 8");
  CHECK(verdict_of("[1}") == "expected ',' or ']', found '}' at byte 2");
  CHECK(verdict_of("map [") == "expected '{' after map or set, found '[' at byte 4");
  CHECK(verdict_of("set") == "expected '{' after map or set, found end of text at byte 3");
  CHECK(verdict_of("\"abc") ==
        "expected the closing '\"' of a string, found end of text at byte 4");
  CHECK(verdict_of("\"abc\\") ==
        "expected the closing '\"' of a string, found end of text at byte 5");
  CHECK(verdict_of("\"\\x41\"") ==
        "expected one of \" \\ / b f n r t u after a backslash, found 'x' at byte 2");
  CHECK(verdict_of("\"\\u00G0\"") == "expected four hex digits after \\u, found 'G' at byte 5");
  CHECK(verdict_of("\"\\u00") == "expected four hex digits after \\u, found end of text at byte 5");
  CHECK(verdict_of("\"a\xc0\x80\"") == "expected well-formed UTF-8, found byte 0xc0 at byte 2");
  CHECK(verdict_of("-") == "expected a digit, found end of text at byte 1");
  CHECK(verdict_of("1.x") == "expected a digit, found 'x' at byte 2");
  CHECK(verdict_of("[1e+]") == "expected a digit, found ']' at byte 4");
  CHECK(verdict_of("[date:2026-02-30]") ==
        "expected a valid ISO 8601 date such as date:2026-01-27T15:30:00.000Z, found 'd' at "
        "byte 1");
  CHECK(verdict_of("{\"a\":{\"__proto__\":1}}") ==
        "expected a key other than __proto__, constructor and prototype, found '\"' at byte 6");
  CHECK(verdict_of("[[[]]]", 2) == "expected at most 2 levels of nesting, found '[' at byte 2");
  CHECK(verdict_of("map{1:set{}}", 1) ==
        "expected at most 1 levels of nesting, found '{' at byte 9");
  CHECK(verdict_of("1 2") == "expected end of text, found '2' at byte 2");
  CHECK(verdict_of("01") == "expected end of text, found '1' at byte 1");
  CHECK(verdict_of("\xef\xbb\xbf{}") == "expected a value, found byte 0xef at byte 0");
  CHECK(verdict_of("{}\xc2\xa0") == "expected end of text, found byte 0xc2 at byte 2");
}

TEST_CASE("the depth is bounded exactly, up to the ceiling") {
  for (const u32 depth : {1u, 4u, 256u, depth_ceiling}) {
    CAPTURE(depth);
    CHECK(verdict_of(repeat("[", depth) + repeat("]", depth), depth) == "accepted");
    CHECK(verdict_of(repeat("[", depth + 1) + repeat("]", depth + 1), depth) != "accepted");
    CHECK(verdict_of(repeat("{\"a\":", depth - 1) + "{}" + repeat("}", depth - 1), depth) ==
          "accepted");
    CHECK(verdict_of(repeat("set { ", depth) + repeat("}", depth), depth) == "accepted");
    CHECK(verdict_of(repeat("map { map {}: ", depth - 1) + "1" + repeat("}", depth - 1), depth) ==
          "accepted");
  }
  CHECK(verdict_of("1", 0) == "accepted");
  CHECK(verdict_of("[]", 0) != "accepted");
}

TEST_CASE("a pull reader returns members, elements and slices, and skips relayed values") {
  const Bytes text = R"( { "a" : [ 1 , "x\n" , { "deep" : [ ] } ] , "b":map { 1 : 2 } ,"c":"" } )";
  Reader reader(text, 8);
  Kind kind;
  Slice slice;
  REQUIRE(reader.peek(kind));
  CHECK(kind == Kind::object);
  REQUIRE(reader.enter_object());

  REQUIRE(reader.next_member(slice));
  CHECK(slice.raw == "a");
  REQUIRE(reader.peek(kind));
  CHECK(kind == Kind::array);
  REQUIRE(reader.enter_array());
  REQUIRE(reader.next_element());
  REQUIRE(reader.read(slice));
  CHECK((slice.kind == Kind::number && slice.raw == "1"));
  REQUIRE(reader.next_element());
  REQUIRE(reader.read(slice));
  CHECK((slice.kind == Kind::string && slice.raw == "x\\n" && slice.escaped));
  REQUIRE(reader.next_element());
  REQUIRE(reader.read(slice));
  CHECK((slice.kind == Kind::object && slice.raw == R"({ "deep" : [ ] })"));
  CHECK_FALSE(reader.next_element());

  REQUIRE(reader.next_member(slice));
  CHECK(slice.raw == "b");
  REQUIRE(reader.read(slice));
  CHECK((slice.kind == Kind::map && slice.raw == "map { 1 : 2 }"));
  REQUIRE(reader.next_member(slice));
  REQUIRE(reader.read(slice));
  CHECK((slice.kind == Kind::string && slice.raw.empty() && !slice.escaped));
  CHECK_FALSE(reader.next_member(slice));
  CHECK(reader.finish());
}

TEST_CASE("the first byte determines the kind, and the slice of a scalar is its text") {
  const std::pair<Bytes, Kind> values[] = {
      {"null", Kind::null},        {"true", Kind::boolean},         {"false", Kind::boolean},
      {"-0.5e+3", Kind::number},   {"NaN", Kind::number},           {"Infinity", Kind::number},
      {"-Infinity", Kind::number}, {"date:2026-01-27", Kind::date}, {"[ ]", Kind::array},
      {"{ }", Kind::object},       {"map { }", Kind::map},          {"set\n{ }", Kind::set},
  };
  for (const auto& [text, expected] : values) {
    CAPTURE(text);
    const std::string spaced = compose({" \t\r\n", text, " \n"});
    Reader reader(spaced, 8);
    Kind kind;
    CHECK(reader.peek(kind));
    CHECK(kind == expected);
    Slice slice;
    CHECK(reader.read(slice));
    CHECK(slice.kind == expected);
    CHECK(slice.raw == text);
    CHECK(reader.finish());
  }
}

TEST_CASE("after the first fault every call returns false and the verdict stays") {
  Reader reader("[1 2]", 8);
  Slice slice;
  Kind kind;
  REQUIRE(reader.enter_array());
  REQUIRE(reader.next_element());
  REQUIRE(reader.read(slice));
  CHECK_FALSE(reader.next_element());
  for (int i = 0; i < 2; ++i) {
    CHECK_FALSE(reader.read(slice));
    CHECK_FALSE(reader.peek(kind));
    CHECK_FALSE(reader.enter_array());
    CHECK_FALSE(reader.enter_object());
    CHECK_FALSE(reader.next_member(slice));
    CHECK_FALSE(reader.next_element());
    CHECK_FALSE(reader.finish());
    CHECK(reader.verdict().fault == Fault::comma_or_bracket);
    CHECK(reader.verdict().offset == 3);
  }
}

TEST_CASE("iterating over a list checks the same grammar as skipping it") {
  for (const Bytes text : {"[1,2]", "[]", "[ ]", "[1,]", "[,1]", "[1 2]", "[1,,2]", "[", "[1",
                           "[1,", "[1}", "[]]", "[1]x"}) {
    CAPTURE(text);
    Reader walker(text, 8);
    Slice slice;
    walker.enter_array();
    while (walker.next_element()) walker.read(slice);
    walker.finish();
    const ion::Verdict skipped = validate(text, 8);
    CHECK(walker.verdict().fault == skipped.fault);
    CHECK(walker.verdict().offset == skipped.offset);
  }
}

TEST_CASE("iterating over an object checks the same grammar as skipping it") {
  for (const Bytes text : {"{\"a\":1,\"b\":2}", "{}", "{ }", "{\"a\":1,}", "{,\"a\":1}",
                           "{\"a\":1 \"b\":2}", "{\"a\"}", "{\"a\":}", "{", "{\"a\"", "{\"a\":1",
                           "{\"a\":1]", "{}}", "{\"prototype\":1}", "{1:1}"}) {
    CAPTURE(text);
    Reader walker(text, 8);
    Slice slice;
    walker.enter_object();
    while (walker.next_member(slice)) walker.read(slice);
    walker.finish();
    const ion::Verdict skipped = validate(text, 8);
    CHECK(walker.verdict().fault == skipped.fault);
    CHECK(walker.verdict().offset == skipped.offset);
  }
}

TEST_CASE("finds the end of a string wherever the special byte is within a block") {
  for (u32 before = 0; before < 40; ++before) {
    for (const Bytes special : {"\"", "\\n\"", "é\"", "\\u0041\"", "\xf0\x9f\x98\x80\""}) {
      const std::string text = "\"" + repeat("x", before) + std::string(special);
      CHECK(verdict_of(text) == "accepted");
      CHECK(verdict_of(text + repeat(" ", 40)) == "accepted");
      CHECK(verdict_of(Bytes(text).substr(0, text.size() - 1)) != "accepted");
    }
    CHECK(verdict_of("\"" + repeat("x", before) + "\xff" + repeat("x", 20) + "\"") ==
          compose({"expected well-formed UTF-8, found byte 0xff at byte ", Digits(before + 1)}));
  }
}

std::string decoded(Bytes raw) {
  std::string out;
  append_decoded(out, raw);
  return out;
}

TEST_CASE("append_decoded decodes every escape; lone surrogates become WTF-8") {
  CHECK(decoded("") == "");
  CHECK(decoded(R"(a\"\\\/\b\f\n\r\tz)") == "a\"\\/\b\f\n\r\tz");
  CHECK(decoded(R"(\u0041\u00e9\u20ac\u0000)") == std::string("Aé€\0", 7));
  CHECK(decoded(R"(\ud83d\ude00)") == "😀");
  CHECK(decoded(R"(\uD83D\uDE00)") == "😀");
  CHECK(decoded(R"(\ud800)") == "\xed\xa0\x80");
  CHECK(decoded(R"(\udfffx)") == "\xed\xbf\xbfx");
  CHECK(decoded(R"(\ud800\ud800\udc00)") == "\xed\xa0\x80\xf0\x90\x80\x80");
  CHECK(decoded(R"(\ud800\u0041)") ==
        "\xed\xa0\x80"
        "A");
  CHECK(decoded(R"(\ud800\n)") == "\xed\xa0\x80\n");
  CHECK(decoded(R"(\udc00\ud800)") == "\xed\xb0\x80\xed\xa0\x80");
  CHECK(decoded("é") == "é");
}

TEST_CASE("random texts are read back as written") {
  const auto [first, last] = test::seed_range(500);
  for (u64 seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    std::string text;
    for (u32 i = random.below(30); i > 0; --i) {
      const u32 ranges[] = {0x20, 0x80, 0x800, 0x10000, 0x110000};
      u32 code = random.below(ranges[random.below(5)]);
      // A high surrogate followed by a low one would be one character.
      if (code >= 0xDC00 && code < 0xE000) code -= 0x400;
      char escape[16];
      if (code < 0x10000) {
        std::snprintf(escape, sizeof escape, "\\u%04x", code);
      } else {
        std::snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10),
                      0xDC00 + ((code - 0x10000) & 0x3FF));
      }
      append_decoded(text, escape);
    }
    std::string written;
    append_string(written, text);
    CHECK(is_utf8(written));
    CHECK(verdict_of(written) == "accepted");
    CHECK(decoded(Bytes(written).substr(1, written.size() - 2)) == text);
  }
}

TEST_CASE("is_date accepts the ECMAScript date-time string format, and only existing days") {
  for (const Bytes date :
       {"2026", "2026-01", "2026-01-27", "2026-01-27T15:30Z", "2026-01-27T15:30:00",
        "2026-01-27T15:30:00.000Z", "2026-01-27T15:30:00.000+05:45", "2026-01-27T24:00Z",
        "2024-02-29", "2000-02-29", "+010000-01-01T00:00:00.000Z", "-000001-01-01", "0000-01-01",
        "+275760-09-13T00:00:00.000Z", "-271821-04-20T00:00:00.000Z"}) {
    CAPTURE(date);
    CHECK(is_date(date));
  }
  for (const Bytes date : {"",
                           "26",
                           "2026-",
                           "2026-1",
                           "2026-13",
                           "2026-00",
                           "2026-02-29",
                           "1900-02-29",
                           "2026-04-31",
                           "2026-01-00",
                           "2026-01-27T",
                           "2026-01-27T15Z",
                           "2026-01-27T25:00Z",
                           "2026-01-27T24:01Z",
                           "2026-01-27T15:60Z",
                           "2026-01-27T15:30:60Z",
                           "2026-01-27T15:30:00.00Z",
                           "2026-01-27T15:30:00.0000Z",
                           "2026-01-27 15:30Z",
                           "2026-01-27T15:30z",
                           "2026-01-27T15:30+24:00",
                           "2026-01-27T15:30+0100",
                           "2026-01-27Z",
                           "-000000-01-01",
                           "+2026-01-01",
                           "+275760-09-13T00:00:00.001Z",
                           "-271821-04-19T23:59:59.999Z",
                           "+275760-09-13T00:00",
                           "tomorrow",
                           "2026-01-27T15:30:00.000Zx"}) {
    CAPTURE(date);
    CHECK_FALSE(is_date(date));
  }
}

TEST_CASE("is_utf8 is exact at every boundary of the table") {
  for (const Bytes good :
       {Bytes(""), Bytes("a"), Bytes("\0", 1), Bytes("\xc2\x80"), Bytes("\xdf\xbf"),
        Bytes("\xe0\xa0\x80"), Bytes("\xed\x9f\xbf"), Bytes("\xee\x80\x80"), Bytes("\xef\xbf\xbf"),
        Bytes("\xf0\x90\x80\x80"), Bytes("\xf4\x8f\xbf\xbf"), Bytes("\"\\")}) {
    CHECK(is_utf8(good));
    CHECK(is_utf8(repeat("x", 15) + std::string(good) + repeat("x", 15)));
  }
  for (const Bytes bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xe2\x82", "\xe2\x28\xa1", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xf0\x9f\x98", "\xff", "\xfe"}) {
    CHECK_FALSE(is_utf8(bad));
    CHECK_FALSE(is_utf8(repeat("x", 15) + std::string(bad) + repeat("x", 15)));
  }
}

}  // namespace
