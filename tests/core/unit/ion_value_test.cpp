// ion::Value: parse, print, build, copy, destroy. The corpus and the differential tests are in
// tests/ion.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "value/value.hpp"

namespace {

using sidekick::Bytes;
using sidekick::u32;
using sidekick::ion::parse;
using sidekick::ion::print;
using sidekick::ion::Value;

/// The printed form of a text, or the error.
std::string reprint(Bytes text) {
  const auto parsed = parse(text);
  return parsed.ok() ? print(*parsed.value) : parsed.error.describe();
}

struct Row {
  std::string text;
  std::string expected;
};

void check(const std::vector<Row>& rows) {
  for (const auto& [text, expected] : rows) {
    CAPTURE(text);
    CHECK(reprint(text) == expected);
  }
}

std::string repeat(Bytes part, u32 count) {
  std::string out;
  for (; count > 0; --count) out += part;
  return out;
}

TEST_CASE("prints a text in the layout of ION.stringify") {
  check({
      {"null", "null"},
      {"[]", "[]"},
      {"{}", "{}"},
      {"map{}", "map {  }"},
      {"set{}", "set {  }"},
      {"[1,[2,3],{}]", "[1, [2, 3], {}]"},
      {R"({"k":1,"l":[1,2]})", R"({ "k": 1, "l": [1, 2] })"},
      {R"(map{"a":1,2:map{}})", R"(map { "a": 1, 2: map {  } })"},
      {"set{1,2}", "set { 1, 2 }"},
      {" [ NaN , Infinity , -Infinity , true , false ] ",
       "[NaN, Infinity, -Infinity, true, false]"},
  });
}

TEST_CASE(
    "prints a space between a date as a map key and its colon: otherwise no reader could parse "
    "it") {
  check({
      {"map{date:2026-01-27 :1}", "map { date:2026-01-27T00:00:00.000Z : 1 }"},
      {"map{1:date:2026-01-27}", "map { 1: date:2026-01-27T00:00:00.000Z }"},
      {"map{[date:2026-01-27]:1}", "map { [date:2026-01-27T00:00:00.000Z]: 1 }"},
  });
}

TEST_CASE("prints numbers in JavaScript's shortest form") {
  check({
      {"0", "0"},
      {"-0", "0"},
      {"-0.0e5", "0"},
      {"10", "10"},
      {"-1.50", "-1.5"},
      {"100000000000000000000", "100000000000000000000"},
      {"999999999999999999999", "1e+21"},
      {"1e21", "1e+21"},
      {"123456789012345678901", "123456789012345680000"},
      {"1.25e21", "1.25e+21"},
      {"0.000001", "0.000001"},
      {"0.00000123", "0.00000123"},
      {"0.0000001", "1e-7"},
      {"0.000000123", "1.23e-7"},
      {"0.1", "0.1"},
      {"9007199254740993", "9007199254740992"},
      {"5e-324", "5e-324"},
      {"2.2250738585072011e-308", "2.225073858507201e-308"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
  });
}

TEST_CASE("a number beyond the range of a double becomes infinity or zero") {
  const std::string zeros = repeat("0", 400);
  check({
      {"1e400", "Infinity"},
      {"-1E+400", "-Infinity"},
      {"1.7976931348623159e308", "Infinity"},
      {"1" + zeros, "Infinity"},
      {"1" + zeros + "e-5", "Infinity"},
      {"1e-400", "0"},
      {"-1e-400", "0"},
      {"2e-324", "0"},
      {"0." + zeros + "1", "0"},
      {"0." + zeros + "1e5", "0"},
      {"1e99999999999999999999", "Infinity"},
      {"1e-99999999999999999999", "0"},
      {"0e99999999999999999999", "0"},
      {"1" + zeros + "e-400", "1"},
      {"0." + zeros + "1e401", "1"},
  });
}

TEST_CASE("escapes strings only where necessary, with lower-case hexadecimal digits") {
  check({
      {R"("\"\\\/\b\f\n\r\t")", R"("\"\\/\b\f\n\r\t")"},
      {R"("\u0000\u001F\u0020\u007f")", "\"\\u0000\\u001f \x7f\""},
      {"\"a\tb\x01\"", R"("a\tb\u0001")"},
      {R"("\u20AC\u2028")", "\"\u20ac\u2028\""},
      {R"("\ud83d\ude00")", "\"\U0001f600\""},
      {R"("\uD800")", R"("\ud800")"},
      {R"("\ude00\ud83d")", R"("\ude00\ud83d")"},
      {R"("\ud83d\ud83d\ude00")", "\"\\ud83d\U0001f600\""},
  });
}

TEST_CASE("prints dates as toISOString does") {
  check({
      {"date:2026-01-27T15:30:00.000Z", "date:2026-01-27T15:30:00.000Z"},
      {"date:2026", "date:2026-01-01T00:00:00.000Z"},
      {"date:2026-01-27T15:30+01:30", "date:2026-01-27T14:00:00.000Z"},
      {"date:2026-01-27T15:30-01:30", "date:2026-01-27T17:00:00.000Z"},
      {"date:2026-12-31T24:00Z", "date:2027-01-01T00:00:00.000Z"},
      {"date:2024-02-29T23:59:59.999Z", "date:2024-02-29T23:59:59.999Z"},
      {"date:0000-01-01", "date:0000-01-01T00:00:00.000Z"},
      {"date:+000000-12-31", "date:0000-12-31T00:00:00.000Z"},
      {"date:-000001-12-31", "date:-000001-12-31T00:00:00.000Z"},
      {"date:9999-12-31T24:00Z", "date:+010000-01-01T00:00:00.000Z"},
      {"date:+275760-09-13T00:00:00.000Z", "date:+275760-09-13T00:00:00.000Z"},
      {"date:-271821-04-20", "date:-271821-04-20T00:00:00.000Z"},
  });
}

TEST_CASE("reads a date with a time but no offset as UTC on every machine") {
  check({{"date:2026-01-27T15:30", "date:2026-01-27T15:30:00.000Z"}});
}

TEST_CASE("dates are exact to the millisecond, up to the bounds and not beyond") {
  CHECK(parse("date:1970-01-01T00:00:00.001Z").value->as_date_ms() == 1);
  CHECK(parse("date:1969-12-31T23:59:59.999Z").value->as_date_ms() == -1);
  CHECK(parse("date:+275760-09-13").value->as_date_ms() == Value::date_ms_max);
  CHECK(parse("date:-271821-04-20").value->as_date_ms() == -Value::date_ms_max);
  CHECK_FALSE(parse("date:+275760-09-13T00:00:00.001Z").ok());
  CHECK_FALSE(parse("date:-271821-04-19T23:59:59.999Z").ok());
}

TEST_CASE("prints and reads back every day from the first to the last one") {
  constexpr std::int64_t day_ms = 86'400'000;
  // Steps of 97 days reach every day of the month and every year.
  for (std::int64_t ms = -Value::date_ms_max; ms <= Value::date_ms_max; ms += 97 * day_ms + 1) {
    const std::string text = print(Value::date(ms));
    const auto parsed = parse(text);
    if (!parsed.ok() || parsed.value->as_date_ms() != ms) FAIL_CHECK(text);
  }
}

TEST_CASE("of duplicate keys in an object the last value wins, at the position of the first") {
  check({{R"({"a":1,"b":2,"a":3})", R"({ "a": 3, "b": 2 })"},
         {R"({"a":1,"\u0061":2})", R"({ "a": 2 })"}});
}

TEST_CASE("integer keys come first and ascending, as JavaScript enumerates an object") {
  check(
      {{R"({"b":1,"10":2,"9":3,"01":4,"4294967295":5,"4294967294":6,"-1":7,"":8,"0":9})",
        R"({ "0": 9, "9": 3, "10": 2, "4294967294": 6, "b": 1, "01": 4, "4294967295": 5, "-1": 7, "": 8 })"}});
}

TEST_CASE(
    "maps and sets compare keys as JavaScript does: primitives by value, everything else never "
    "equal") {
  check({
      {R"(map{"a":1,2:2,"a":3})", R"(map { "a": 3, 2: 2 })"},
      {"map{NaN:1,NaN:2}", "map { NaN: 2 }"},
      {"map{0:1,-0:2}", "map { 0: 2 }"},
      {R"(map{1:1,"1":2,true:3,"true":4,null:5})",
       R"(map { 1: 1, "1": 2, true: 3, "true": 4, null: 5 })"},
      {"map{{}:1,{}:2,[]:3,[]:4}", "map { {}: 1, {}: 2, []: 3, []: 4 }"},
      {"map{date:2026 :1,date:2026 :2}",
       "map { date:2026-01-01T00:00:00.000Z : 1, date:2026-01-01T00:00:00.000Z : 2 }"},
      {"set{1,2,1,NaN,NaN,0,-0}", "set { 1, 2, NaN, 0 }"},
      {"set{[],[]}", "set { [], [] }"},
  });
  CHECK_FALSE(std::signbit(parse("set{-0}").value->items()[0].as_number()));
  CHECK(std::signbit(parse("[-0]").value->items()[0].as_number()));
}

TEST_CASE("an error names what was expected, what was found and the byte offset") {
  check({
      {"", "expected a value, found the end of the text at byte 0"},
      {"[1,]", "expected a value, found ']' at byte 3"},
      {"[1 2]", "expected ',' or ']', found '2' at byte 3"},
      {"{\"a\" 1}", "expected ':', found '1' at byte 5"},
      {"{\"a\":1,}", "expected a member's name in double quotes, found '}' at byte 7"},
      {"map{1:2", "expected ',' or '}', found the end of the text at byte 7"},
      {"map [", "expected '{' after map, found '[' at byte 4"},
      {"01", "expected the end of the text, found '1' at byte 1"},
      {"1.", "expected a digit after the point, found the end of the text at byte 2"},
      {"\"a",
       "expected the end of the string that began at byte 0, found the end of the text at byte 2"},
      {"\"\xff\"", "expected UTF-8, found '\\xff' at byte 1"},
      {"\xef\xbb\xbf"
       "1",
       "expected a value, found '\\xef' at byte 0"},
      {R"({"a":{"\u005f_proto__":1}})",
       R"(expected a member's name other than __proto__, constructor and prototype, found '"\u005f_proto__"' at byte 6)"},
      {"[date:2026-02-30]",
       "expected a date such as date:2026-01-27T15:30:00.000Z, found 'date:2026-02-30' at byte 1"},
  });
}

TEST_CASE("depth is bounded exactly: accepts n - 1 and n levels, rejects n + 1") {
  for (const Bytes start : {"[", "{\"a\":", "map{1:", "map{", "set{"}) {
    CAPTURE(start);
    const auto nested = [&](u32 levels) { return parse(repeat(start, levels), {5}).error; };
    // Unfinished on purpose: the fault shows how far the reader got.
    CHECK(nested(4).expected.find("levels") == std::string::npos);
    CHECK(nested(5).expected.find("levels") == std::string::npos);
    CHECK(nested(6).expected == "at most 5 levels");
    CHECK(nested(6).offset == start.size() * 5);
  }
  CHECK(parse("1", {0}).ok());
  CHECK_FALSE(parse("[]", {0}).ok());
}

TEST_CASE("reads, copies, prints and destroys 100,000 levels without recursion") {
  constexpr u32 levels = 100'000;
  for (const auto& [start, end] : std::vector<std::pair<Bytes, Bytes>>{
           {"[", "]"}, {"{ \"a\": ", " }"}, {"map { 1: ", " }"}, {"set { ", " }"}}) {
    CAPTURE(start);
    const std::string text = repeat(start, levels) + "1" + repeat(end, levels);
    auto parsed = parse(text, {levels});
    REQUIRE(parsed.ok());
    Value copy = *parsed.value;
    *parsed.value = Value(1);
    CHECK((print(copy) == text));
    CHECK_FALSE(parse(text, {levels - 1}).ok());
    CHECK_FALSE(parse(text.substr(0, text.size() - 1), {levels}).ok());
  }
}

TEST_CASE("values built in C++ follow the same rules as parsed ones") {
  const Value value = Value::object({
      {"b", "text"},
      {"1", Value::array({1, 2.5, true, Value()})},
      {"map", Value::map({{Value::date(0), 1}, {"k", 2}, {"k", 3}})},
      {"set", Value::set({1, 1, "1"})},
      {"b", "last"},
  });
  const std::string text =
      R"({ "1": [1, 2.5, true, null], "b": "last", "map": map { date:1970-01-01T00:00:00.000Z : 1, "k": 3 }, "set": set { 1, "1" } })";
  CHECK(print(value) == text);
  CHECK(reprint(text) == text);
}

TEST_CASE("values are accessible by kind, in order, and by name") {
  const auto parsed = parse(R"({"a":{"b":[true,1.5,"x",date:1970-01-01]},"m":map{"k":1,2:3}})");
  REQUIRE(parsed.ok());
  const Value& root = *parsed.value;
  CHECK(root.kind() == Value::Kind::object);
  REQUIRE(root.find("a") != nullptr);
  const Value* list = root.find("a")->find("b");
  REQUIRE(list != nullptr);
  REQUIRE(list->items().size() == 4);
  CHECK(list->items()[0].as_boolean());
  CHECK(list->items()[1].as_number() == 1.5);
  CHECK(list->items()[2].as_string() == "x");
  CHECK(list->items()[3].as_date_ms() == 0);
  CHECK(root.find("m")->find("k")->as_number() == 1);
  CHECK(root.find("nothing") == nullptr);
  CHECK(list->find("a") == nullptr);
}

TEST_CASE("a copy is independent, and a value may be assigned from a part of itself") {
  Value value = Value::array({Value::array({1, 2}), "x"});
  const Value copy = value;
  value = value.items()[0];
  CHECK(print(value) == "[1, 2]");
  CHECK(print(copy) == "[[1, 2], \"x\"]");
  const Value moved = std::move(value);
  CHECK(print(moved) == "[1, 2]");
}

TEST_CASE("prints bytes that are not UTF-8 as U+FFFD, so that the output can always be parsed") {
  for (const std::string bytes : {"\xff", "\xc0\x80", "\xe2\x82", "\xf4\x90\x80\x80", "a\x80z"}) {
    const std::string text = print(Value(bytes));
    CHECK(text.find("\ufffd") != std::string::npos);
    CHECK(reprint(text) == text);
  }
  CHECK(print(Value("a\x80z")) == "\"a\ufffdz\"");
  CHECK(print(Value("\xed\xa0\x80")) == R"("\ud800")");
}

TEST_CASE("every bit pattern of a double is printed and read back exactly") {
  sidekick::u64 bits = 0x9E3779B97F4A7C15;
  for (int i = 0; i < 20'000; ++i) {
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    double number = 0;
    std::memcpy(&number, &bits, sizeof number);
    const std::string text = print(Value(number));
    const auto parsed = parse(text);
    REQUIRE(parsed.ok());
    const double again = parsed.value->as_number();
    if (!(again == number || (std::isnan(again) && std::isnan(number)))) FAIL_CHECK(text);
  }
}

TEST_CASE("forbids the keys that pollute prototypes, and only those") {
  for (const Bytes key : {"__proto__", "constructor", "prototype"})
    CHECK(Value::is_forbidden_key(key));
  for (const Bytes key : {"", "proto", "__proto", "Constructor", "prototype "})
    CHECK_FALSE(Value::is_forbidden_key(key));
}

}  // namespace
