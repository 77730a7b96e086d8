// The commands of sidekick-trace and their arguments. Each returns the exit status: 0 success, 1 a
// difference (or nothing found), 2 a usage or input error; then stderr has the reason: what was
// expected, what came, and where.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trace/trace_reader.hpp"

namespace sidekick::trace {

struct Told {
  std::vector<char*> files;
  std::optional<u32> client;
  std::string topic;
  std::string token;
  std::string out;      ///< -o
  std::string until;    ///< trap or says:TEXT
  std::string against;  ///< a command for the shell
  std::string module;
  std::string key;
  std::string page;  ///< a file of html
  u32 trials = 20000;
};

int replay(const Told& told);
int show(const Told& told);
int stat(const Told& told);
int compare(const Told& told);
int record(const Told& told);
int html(const Told& told);
int metrics(const Told& told);
int redact(const Told& told);
int shrink(const Told& told);
int upgrade_check(const Told& told);

/// Prints where and what is wrong, and returns 2.
int unreadable(const char* path, const Reader& reader);
int unusable(const std::string& subject, const std::string& what);

}  // namespace sidekick::trace
