// Replays traces against whatever can play the hub: the core itself, or a module in some runtime.
// Owns no hub.
#pragma once

#include <string>

#include "trace/trace_reader.hpp"

namespace sidekick::trace {

/// A hub under replay.
class ReplayedHub {
 public:
  virtual ~ReplayedHub() = default;

  /// Becomes a fresh hub. config_text: for decode_config or sidekick_create; `config`: the same,
  /// decoded.
  virtual void open(const std::string& config_text, const Config& config) = 0;

  /// Empty, or why there is no hub: a module refuses the configuration, or has trapped.
  virtual std::string wrong() const { return ""; }

  /// Applies the input and appends the lines that a recording of it has, each ended by a newline.
  virtual void append_lines(std::string& out, Millis now, const Input& input) = 0;

  /// What Recording::append_hash gives for it.
  virtual std::string hash_line() = 0;

  /// What GET /health says. Asked last: the hub is not used any more.
  virtual std::string state() = 0;
};

/// That request, with the right bearer.
Input health_request();

/// Sees what a replay goes through, to tell more about a difference.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  virtual void on_header(u64 line) = 0;
  /// Before the hub gets it.
  virtual void on_input(u64 line, Millis now, const Input& input) = 0;
  virtual void on_action(const std::string& line) = 0;
  /// The end of the report.
  virtual void on_difference(const std::string& expected, const std::string& got,
                             const std::string& hash) = 0;
};

/// The command: replays each file and says how it went, and where a recording that was cut off
/// ends. Returns the exit status: 0 the same, 1 a difference, 2 a trace that cannot be read.
int replay_files(int count, char** paths, ReplayedHub& hub, Onlooker* onlooker = nullptr);

}  // namespace sidekick::trace
