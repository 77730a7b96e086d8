// Inputs and actions in readable form: one line each; long text is cut. Owns the time of the first
// input, and the calls to the engine under way.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "sidekick/border.hpp"

namespace sidekick::trace {

class Timeline {
 public:
  /// "+120 ms  client 1 says (37 bytes) {...}". Times count from the first input.
  std::string describe(Millis now, const Input& input);
  /// "-> send to client 1 (74 bytes) {...}". `action` is its line.
  std::string describe(const nlohmann::json& action);

 private:
  struct Call {
    std::string name;  // its script, or join
    u32 shard = 0;
    Millis at = 0;
  };

  std::string time(Millis at) const;
  void begin_call(const nlohmann::json& action, const std::string& name);
  void end_calls(u32 shard);
  std::string describe_answer(const input::EngineAnswer& in);

  Millis start_ = 0;
  Millis now_ = 0;
  std::map<u32, Call> calls_;
};

/// About 100 bytes of it, printable.
std::string shortened(Bytes text);

}  // namespace sidekick::trace
