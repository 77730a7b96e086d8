// Replays traces against any implementation of the hub: the core itself, or a module in some
// runtime. Owns no hub.
#pragma once

#include <string>

#include "trace/trace_reader.hpp"

namespace sidekick::trace {

/// A hub under replay.
class ReplayedHub {
 public:
  virtual ~ReplayedHub() = default;

  /// Becomes a fresh hub. config_text: for decode_config or sidekick_create; `config`: the same,
  /// decoded; `format`: of the lines to record.
  virtual void open(const std::string& config_text, const Config& config, u32 format) = 0;

  /// Empty, or the reason there is no hub: the module rejected the configuration, or trapped.
  virtual std::string wrong() const { return ""; }

  /// Applies the input and appends the lines of its recording, each with a newline.
  virtual void append_lines(std::string& out, Millis now, const Input& input) = 0;

  /// The result of Recording::append_hash for it.
  virtual std::string hash_line() = 0;

  /// The answer to GET /metrics, without the families of a host.
  virtual std::string metrics() = 0;

  /// The answer to GET /health. Called last: the hub is not used afterwards.
  virtual std::string state() = 0;
};

/// That request, with the right bearer.
Input health_request();

/// Observes each step of a replay before its consequences. The defaults do nothing.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  virtual void on_header(u64) {}
  /// Before the hub gets it.
  virtual void on_input(u64, Millis, const Input&) {}
  virtual void on_action(const std::string&) {}
  /// The recording of a killed host ends after this line, and another one follows.
  virtual void on_cut(u64, std::size_t) {}
  /// This many lines are missing after this line, and another recording follows.
  virtual void on_gap(u64, u64) {}
};

struct ReplayResult {
  enum class Outcome : u8 { same, different, broken };

  Outcome outcome = Outcome::same;
  u64 inputs = 0;
  u64 line = 0;           ///< of the difference or the error, or the last one
  u64 input_line = 0;     ///< of the last input; 0: there was none
  u64 changed_texts = 0;  ///< error texts that are worded otherwise since format 1
  bool is_cut = false;    ///< the trace ends in the middle of a line or of an input's actions
  std::size_t due = 0;    ///< then: how many lines are missing for its last input
  std::string expected;   ///< different: the line of the trace
  std::string got;        ///< different: the line of the hub
  std::string error;      ///< broken: why it is not a trace, or why the hub did not open
};

/// Feeds the inputs of the recordings in `stream` to the hub and compares its recording with the
/// trace, byte for byte; a recording of format 1 except for what format_1.hpp lists. Stops at the
/// first difference; the hub then keeps its state there, for its hash line and its health. Holds
/// the lines of one input, never the whole trace.
ReplayResult replay(std::istream& stream, ReplayedHub& hub, Onlooker& onlooker);

}  // namespace sidekick::trace
