// What must hold of a line before it is parsed, whoever reads it.
#pragma once

#include <string>

#include "sidekick/text.hpp"

namespace sidekick::trace {

/// Far above what any line has; whoever writes, compares or copies JSON recurses.
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
    return "expected a line that ends with \\n, found \\r\\n: something has changed the line ends; "
           "bring the file over as it is (binary)";
  if (is_too_deep(line))
    return compose({"expected JSON of at most ", Digits(line_depth_max), " levels, found more"});
  return "";
}

}  // namespace sidekick::trace
