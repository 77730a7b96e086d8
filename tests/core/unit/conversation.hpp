// Conversations: text files of inputs and the actions they cause. The format stands in
// conversations/README.md.
#pragma once

#include <string>
#include <vector>

#include "scenario.hpp"

namespace sidekick::test {

struct Conversation {
  std::string title;
  std::string settings;
  u32 line = 0;                    ///< of the title
  std::vector<std::string> lines;  ///< all that follows the title, up to the next one
};

std::vector<Conversation> parse_conversations(const std::string& text);

/// Holds the conversation and returns its lines as they should be. A line that is no input gives
/// `wrong`.
std::vector<std::string> hold(const Conversation& conversation, std::string& trace,
                              std::string& wrong);

/// Whether expectations are to be rewritten (UPDATE=1).
bool is_updating();

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);

/// Compares with the file, or writes it. On a difference returns where it is and what it is.
std::string check_golden(const std::string& path, const std::string& text);

}  // namespace sidekick::test
