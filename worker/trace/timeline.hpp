// Inputs and actions in readable form: one line each; long text is cut. Owns the time of the first
// input.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sidekick/border.hpp"

namespace sidekick::trace {

class Timeline {
 public:
  /// "+120 ms  client 1 says (37 bytes) {...}". Times count from the first input.
  std::string describe(Millis now, const Input& input);
  /// "-> send to client 1 (74 bytes) {...}". `action` is its line.
  std::string describe(const nlohmann::json& action) const;

 private:
  std::string time(Millis at) const;

  Millis start_ = 0;
};

/// About 100 bytes of it, printable.
std::string shortened(Bytes text);

}  // namespace sidekick::trace
