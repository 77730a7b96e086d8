// Trace lines: what went in, what came out, as JSON, one object a line. Written here and nowhere
// else, so that every host records the same bytes. Format: docs/architecture.md, "Traces".
#pragma once

#include <string>

#include "sidekick/hub.hpp"

namespace sidekick::trace {

inline constexpr u32 format_version = 1;

/// {"trace":1,"core":"0.1.0","hash_seed":"…","config":{…}} without a newline. Never a secret.
void append_header(std::string& out, const Config& config);

/// The input's line, ended by a newline. An Authorization header becomes "authorized":true or
/// false, as `hub` judges it, or null where there is none.
void append_input(std::string& out, const Hub& hub, Millis now, const Input& input);

/// The action's line, ended by a newline.
void append_action(std::string& out, const Action& action);

/// The recording of one hub, from its first input on.
class Recording {
 public:
  /// The lines of an input that `hub` has been given, and of what it answered.
  void append(std::string& out, const Hub& hub, Millis now, const Input& input,
              const Actions& actions);

  /// What the recording and the hub have come to, in a line:
  /// {"hash":{"inputs":1024,"lines":"…","state":"…"}}. Recordings that agree in such a line agree
  /// in all that was recorded before it: these lines alone tell where two hosts or builds went
  /// apart. They may stand anywhere between inputs; a replay takes them where they are.
  void append_hash(std::string& out, const Hub& hub) const;

  /// Whether append_hash is due after this input: after 1,024 inputs and as many as state_size, so
  /// that it costs each of them little. True once each time.
  bool take_due_hash(const Hub& hub);

 private:
  u64 inputs_ = 0;
  u64 lines_ = 0;
  u64 due_since_ = 0;  // as inputs_ was then
};

}  // namespace sidekick::trace
