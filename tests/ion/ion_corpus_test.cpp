// Runs every case of tests/ion/corpus through both readers; the name of its file is the verdict.
// SIDEKICK_ION_CORPUS (set by the build) is the folder.
#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "sidekick/ion/reader.hpp"
#include "value/value.hpp"

namespace {

namespace ion = sidekick::ion;

struct Case {
  std::string name;
  std::string text;
  bool is_accepted;
};

/// \xNN is a byte.
std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text.compare(at, 2, "\\x") == 0) {
      out += static_cast<char>(std::stoi(text.substr(at + 2, 2), nullptr, 16));
      at += 3;
    } else {
      out += text[at];
    }
  }
  return out;
}

void read_cases(const std::string& verdict, std::vector<Case>& cases) {
  std::ifstream stream(SIDEKICK_ION_CORPUS "/" + verdict + ".txt", std::ios::binary);
  for (std::string line; std::getline(stream, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("#") || colon == std::string::npos) continue;
    cases.push_back({verdict + "_" + line.substr(0, colon), unescape(line.substr(colon + 2)),
                     verdict == "accept"});
  }
}

std::vector<Case> read_corpus() {
  std::vector<Case> cases;
  read_cases("accept", cases);
  read_cases("reject", cases);
  return cases;
}

TEST_CASE("the corpus is there, and every case has a name of its own") {
  std::set<std::string> names;
  for (const auto& one : read_corpus()) {
    CAPTURE(one.name);
    CHECK(names.insert(one.name).second);
  }
  CHECK(names.size() >= 452);
}

TEST_CASE("ion::parse gives every corpus case the verdict of its file") {
  for (const auto& one : read_corpus()) {
    CAPTURE(one.name);
    const auto parsed = ion::parse(one.text);
    const std::string why = parsed.ok() ? "" : parsed.error.describe();
    CAPTURE(why);
    CHECK(parsed.ok() == one.is_accepted);
    if (!parsed.ok()) {
      CHECK(parsed.error.offset <= one.text.size());
      CHECK_FALSE(parsed.error.expected.empty());
      CHECK_FALSE(parsed.error.found.empty());
    }
  }
}

TEST_CASE("ion::print preserves the value of an accepted corpus case") {
  for (const auto& one : read_corpus()) {
    if (!one.is_accepted) continue;
    CAPTURE(one.name);
    const auto parsed = ion::parse(one.text);
    REQUIRE(parsed.ok());
    const std::string printed = ion::print(*parsed.value);
    const auto again = ion::parse(printed);
    REQUIRE(again.ok());
    CHECK(ion::print(*again.value) == printed);
  }
}

TEST_CASE("the hub's reader gives every corpus case the verdict of its file") {
  for (const auto& one : read_corpus()) {
    CAPTURE(one.name);
    const auto verdict = ion::validate(one.text, 256);
    CHECK(verdict.ok() == one.is_accepted);
    if (!verdict.ok()) CHECK(verdict.offset <= one.text.size());
  }
}

}  // namespace
