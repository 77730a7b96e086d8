// Conversations: text files of inputs and the actions they cause. Format: conversations/README.md.
#pragma once

#include <string>
#include <vector>

#include "scenario.hpp"

namespace sidekick::test {

struct Conversation {
  std::string title;
  std::string settings;
  u32 line = 0;                    ///< of the title
  std::vector<std::string> lines;  ///< everything between this title and the next one
};

std::vector<Conversation> parse_conversations(const std::string& text);

/// Runs the conversation and returns its lines as they should be. A line that is not an input sets
/// `wrong`.
std::vector<std::string> hold(const Conversation& conversation, std::string& trace,
                              std::string& wrong);

/// Returns whether to rewrite expectations (UPDATE=1).
bool is_updating();

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);

/// Compares with the file, or writes it. Returns the first difference and its position, or an empty
/// text.
std::string check_golden(const std::string& path, const std::string& text);

}  // namespace sidekick::test
