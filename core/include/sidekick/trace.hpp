// Trace lines: inputs and actions as JSON, one object per line. Written here only, so that every
// host records the same bytes. Format: docs/architecture.md, "Traces".
#pragma once

#include <string>

#include "sidekick/hub.hpp"

namespace sidekick::trace {

/// The format of new recordings. Recordings of format 1 are read and replayed, too: a hub can write
/// its lines as format 1 had them, without the fields and actions that came later.
inline constexpr u32 format_version = 2;

/// {"trace":2,"core":"0.1.0","hash_seed":"…","config":{…}} without a newline. Never contains a
/// secret.
void append_header(std::string& out, const Config& config, u32 format = format_version);

/// Appends the line of the input, with a newline. An Authorization header is written as
/// "authorized":true or false, as `hub` judges it, or null if absent.
void append_input(std::string& out, const Hub& hub, Millis now, const Input& input,
                  u32 format = format_version);

/// Appends the line of the action, with a newline; nothing if `format` does not have it.
void append_action(std::string& out, const Action& action, u32 format = format_version);

/// The recording of one hub, starting with its first input.
class Recording {
 public:
  explicit Recording(u32 format = format_version) : format_(format) {}

  /// Appends the lines of an input that `hub` has handled and of the resulting actions.
  void append(std::string& out, const Hub& hub, Millis now, const Input& input,
              const Actions& actions);

  /// Appends a line with hashes of the recording and of the hub:
  /// {"hash":{"inputs":1024,"lines":"…","state":"…"}}. Recordings that agree in such a line agree
  /// in everything before it, so these lines alone show where two hosts or builds diverged. They
  /// may occur anywhere between inputs; a replay checks them in place.
  void append_hash(std::string& out, const Hub& hub) const;

  /// Returns whether append_hash is due after this input: after 1,024 inputs and at least
  /// state_size inputs, so that the cost per input stays small. True once for each interval.
  bool take_due_hash(const Hub& hub);

 private:
  u32 format_;
  u64 inputs_ = 0;
  u64 lines_ = 0;
  u64 due_since_ = 0;  // the value of inputs_ at that time
};

}  // namespace sidekick::trace
