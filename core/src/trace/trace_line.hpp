// Conditions that every reader checks before it parses a line, and the line for a gap.
#pragma once

#include <string>

#include "sidekick/text.hpp"

namespace sidekick::trace {

/// Far more than any line has; code that writes, compares or copies JSON recurses.
inline constexpr std::size_t line_depth_max = 64;

/// Brackets in strings do not count.
inline bool is_too_deep(Bytes line) {
  std::size_t depth = 0;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '"') {
      for (++at; at < line.size() && line[at] != '"'; ++at) at += line[at] == '\\';
    } else if (line[at] == '{' || line[at] == '[') {
      if (++depth > line_depth_max) return true;
    } else if (depth > 0 && (line[at] == '}' || line[at] == ']')) {
      --depth;
    }
  }
  return false;
}

/// Empty, or what was expected and what came.
inline std::string wrong_with_line(Bytes line) {
  if (line.ends_with('\r'))
    return "expected a line that ends with \\n, found \\r\\n: the line endings were converted; "
           "transfer the file in binary mode";
  if (is_too_deep(line))
    return compose({"expected JSON of at most ", Digits(line_depth_max), " levels, found more"});
  return "";
}

/// {"gap":N} with a newline: N lines are missing. Empty if N is 0.
inline std::string gap_line(u64 lines) {
  return lines == 0 ? "" : compose({"{\"gap\":", Digits(lines), "}\n"});
}

}  // namespace sidekick::trace
