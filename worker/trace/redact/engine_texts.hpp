// What the engine sends to a hub, with stand-ins: engine.def tells what each value is. Remembers
// the calls under way, since only the call of an answer tells its script.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "redact/redacted.hpp"
#include "sidekick/border.hpp"
#include "sidekick/engine.hpp"

namespace sidekick::trace {

class EngineTexts {
 public:
  explicit EngineTexts(Redacted& redacted) : redacted_(redacted) {}

  /// The runs among the actions of a hub.
  void begin_calls(const Actions& actions);
  /// These calls will not be answered.
  void end_calls(u32 shard);
  void end_all_calls() { calls_.clear(); }

  /// Also ends the call.
  std::vector<std::string> answer(const input::EngineAnswer& in);
  /// Of a topic, or of the inbox if it is empty.
  std::string body(Bytes topic, Bytes body);

 private:
  struct Call {
    const EngineScript* script = nullptr;
    u32 shard = 0;
  };

  std::string value(EngineKind kind, Bytes text);
  std::string inbox(Bytes body);

  Redacted& redacted_;
  std::unordered_map<u32, Call> calls_;
};

}  // namespace sidekick::trace
