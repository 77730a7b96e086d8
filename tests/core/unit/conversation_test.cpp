// Registers each conversation of conversations/*.txt as a test case with its own name, and one more
// test case per file, which checks the file's trace in tests/core/traces.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "conversation.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

struct File {
  std::string name;
  std::string path;
  std::vector<Conversation> conversations;
};

std::vector<File> read_files() {
  std::vector<File> files;
  for (const auto& entry : std::filesystem::directory_iterator(SIDEKICK_CONVERSATIONS)) {
    if (entry.path().extension() != ".txt") continue;
    files.push_back({entry.path().stem().string(), entry.path().string(), {}});
    files.back().conversations = parse_conversations(read_file(files.back().path));
  }
  std::ranges::sort(files, {}, &File::name);
  return files;
}

void hold_alone(const File& file, const Conversation& conversation) {
  std::string trace;
  std::string wrong;
  const std::vector<std::string> lines = hold(conversation, trace, wrong);
  if (!wrong.empty()) FAIL_CHECK(wrong);
  if (is_updating()) return;  // the file's own test case writes it
  const auto [expected, actual] = std::ranges::mismatch(conversation.lines, lines);
  const bool is_same = expected == conversation.lines.end() && actual == lines.end();
  const auto line = conversation.line + 1 + (expected - conversation.lines.begin());
  CHECK_MESSAGE(is_same, file.path, ":", line,
                "\n  expected: ", expected == conversation.lines.end() ? "(the end)" : *expected,
                "\n  got:      ", actual == lines.end() ? "(the end)" : *actual);
}

void hold_all(const File& file) {
  CHECK_FALSE(file.conversations.empty());
  std::string text;
  std::string trace;
  for (const Conversation& conversation : file.conversations) {
    std::string wrong;
    text += compose({"=== ", conversation.title, "\n"});
    for (const std::string& line : hold(conversation, trace, wrong)) text += compose({line, "\n"});
    if (!wrong.empty()) FAIL_CHECK(file.path, ": in \"", conversation.title, "\": ", wrong);
  }
  if (const std::string difference = check_golden(file.path, text); !difference.empty())
    FAIL_CHECK(difference);
  const std::string difference =
      check_golden(compose({SIDEKICK_TRACES, "/", file.name, ".jsonl"}), trace);
  if (!difference.empty()) FAIL_CHECK(difference);
}

struct Case {
  const File* file;
  const Conversation* conversation;  ///< null: all of them
};

/// Keyed by the name of the test case. The keys live as long as doctest needs the names.
std::map<std::string, Case>& cases() {
  static std::map<std::string, Case> all;
  return all;
}

void run_case() {
  const Case& the_case = cases().at(doctest::getContextOptions()->currentTest->m_name);
  the_case.conversation != nullptr ? hold_alone(*the_case.file, *the_case.conversation)
                                   : hold_all(*the_case.file);
}

void register_case(std::string name, const Case& the_case, u32 line) {
  std::ranges::replace(name, ';', ',');  // separates elements in CMake's list of tests
  const auto [entry, is_new] = cases().emplace(name, the_case);
  if (!is_new) return;  // the test of the titles reports it
  // Does what TEST_CASE does, which takes names only from the source.
  doctest::detail::regTest(doctest::detail::TestCase(run_case, the_case.file->path.c_str(), line,
                                                     doctest::detail::TestSuite()) *
                           entry->first.c_str());
}

const std::vector<File>& files() {
  static const std::vector<File> all = read_files();
  return all;
}

const bool are_registered = [] {
  for (const File& file : files()) {
    for (const Conversation& conversation : file.conversations) {
      register_case(compose({"conversation.", file.name, ": ", conversation.title}),
                    {&file, &conversation}, conversation.line);
    }
    register_case(
        compose({"conversation.", file.name, ".jsonl is the trace of ", file.name, ".txt"}),
        {&file, nullptr}, 0);
  }
  return true;
}();

TEST_CASE("every conversation has a unique title") {
  CHECK(files().size() >= 10);
  CHECK(are_registered);
  std::set<std::string> titles;
  for (const File& file : files()) {
    for (const Conversation& conversation : file.conversations) {
      CAPTURE(conversation.title);
      CHECK(titles.insert(conversation.title).second);
    }
  }
}

}  // namespace
