// Runs every file of tests/ion/corpus through both readers; its name carries the verdict.
// SIDEKICK_ION_CORPUS (set by the build) is the folder.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sidekick/ion/reader.hpp"
#include "value/value.hpp"

namespace {

namespace ion = sidekick::ion;

struct CorpusFile {
  std::string name;
  std::string text;
  bool is_accepted;
};

std::vector<CorpusFile> read_corpus() {
  std::vector<CorpusFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(SIDEKICK_ION_CORPUS)) {
    if (entry.path().extension() != ".ion") continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::string name = entry.path().filename().string();
    std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    files.push_back({name, std::move(text), name.starts_with("accept_")});
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

TEST_CASE("the corpus is there, and every name carries a verdict") {
  const auto files = read_corpus();
  CHECK(files.size() > 300);
  for (const auto& file : files) {
    CAPTURE(file.name);
    CHECK((file.is_accepted || file.name.starts_with("reject_")));
  }
}

TEST_CASE("ion::parse gives every corpus file the verdict of its name") {
  for (const auto& file : read_corpus()) {
    CAPTURE(file.name);
    const auto parsed = ion::parse(file.text);
    const std::string why = parsed.ok() ? "" : parsed.error.describe();
    CAPTURE(why);
    CHECK(parsed.ok() == file.is_accepted);
    if (!parsed.ok()) {
      CHECK(parsed.error.offset <= file.text.size());
      CHECK_FALSE(parsed.error.expected.empty());
      CHECK_FALSE(parsed.error.found.empty());
    }
  }
}

TEST_CASE("ion::print preserves the value of an accepted corpus file") {
  for (const auto& file : read_corpus()) {
    if (!file.is_accepted) continue;
    CAPTURE(file.name);
    const auto parsed = ion::parse(file.text);
    REQUIRE(parsed.ok());
    const std::string printed = ion::print(*parsed.value);
    const auto again = ion::parse(printed);
    REQUIRE(again.ok());
    CHECK(ion::print(*again.value) == printed);
  }
}

TEST_CASE("the hub's reader gives every corpus file the verdict of its name") {
  for (const auto& file : read_corpus()) {
    CAPTURE(file.name);
    const auto verdict = ion::validate(file.text, 256);
    CHECK(verdict.ok() == file.is_accepted);
    if (!verdict.ok()) CHECK(verdict.offset <= file.text.size());
  }
}

}  // namespace
