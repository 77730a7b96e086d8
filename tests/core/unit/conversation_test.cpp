// Holds every conversation of conversations/*.txt, and keeps each file's trace in
// tests/core/traces.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "conversation.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using namespace sidekick::test;

std::vector<std::string> file_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SIDEKICK_CONVERSATIONS)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_CASE(
    "every conversation goes as it is written, and its trace is the one that all hosts replay") {
  CHECK(file_names().size() >= 10);
  for (const std::string& name : file_names()) {
    const std::string path = compose({SIDEKICK_CONVERSATIONS, "/", name, ".txt"});
    const std::vector<Conversation> conversations = parse_conversations(read_file(path));
    CHECK_FALSE(conversations.empty());
    std::string text;
    std::string trace;
    for (const Conversation& conversation : conversations) {
      std::string wrong;
      text += compose({"=== ", conversation.title, "\n"});
      for (const std::string& line : hold(conversation, trace, wrong))
        text += compose({line, "\n"});
      if (!wrong.empty()) FAIL_CHECK(path, ": in \"", conversation.title, "\": ", wrong);
    }
    if (const std::string difference = check_golden(path, text); !difference.empty())
      FAIL_CHECK(difference);
    const std::string difference =
        check_golden(compose({SIDEKICK_TRACES, "/", name, ".jsonl"}), trace);
    if (!difference.empty()) FAIL_CHECK(difference);
  }
}

TEST_CASE("every conversation has a title of its own") {
  std::set<std::string> titles;
  for (const std::string& name : file_names()) {
    for (const Conversation& conversation :
         parse_conversations(read_file(compose({SIDEKICK_CONVERSATIONS, "/", name, ".txt"})))) {
      CAPTURE(conversation.title);
      CHECK(titles.insert(conversation.title).second);
    }
  }
}

}  // namespace
