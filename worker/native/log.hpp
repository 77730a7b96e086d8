// The log: one line per event, on stderr. Text from peers appears only in fields, where it is
// escaped, so that nobody can forge a line or control a terminal, in both formats. Callers never
// pass tokens, secrets or message bodies. Never waits for the reader of stderr: if it falls too far
// behind, lines are dropped and counted.
#pragma once

#include <chrono>
#include <concepts>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "output.hpp"

namespace sidekick::host {

enum class LogLevel : unsigned char { silent, error, warn, info, debug };

/// json: one object per line, with `time`, `level`, `message` and the fields.
enum class LogFormat : unsigned char { text, json };

inline constexpr std::string_view log_level_names[] = {"silent", "error", "warn", "info", "debug"};

class Log {
 public:
  /// A name and a value; numbers are unquoted, text is quoted and escaped.
  struct Field {
    template <std::integral Number>
    Field(std::string_view field, Number value) : name(field), text(std::to_string(value)) {}
    Field(std::string_view field, std::string_view value);

    std::string_view name;
    std::string text;
  };
  using Fields = std::initializer_list<Field>;

  explicit Log(LogLevel level, LogFormat format = LogFormat::text)
      : level_(level), format_(format) {}
  ~Log() { flush(); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool has(LogLevel level) const { return level <= level_; }

  void error(std::string_view message, Fields fields = {}) {
    line(LogLevel::error, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) { line(LogLevel::info, message, fields); }
  void debug(std::string_view message, Fields fields = {}) {
    line(LogLevel::debug, message, fields);
  }

  /// Peers can trigger warnings at will. The first occurrence of a message, with the same `code` if
  /// it has one, is logged at once, further ones at most every 10 s, with the latest fields and the
  /// number of `times` it occurred.
  void warn(std::string_view message, Fields fields = {});

  /// A warning that peers cannot trigger at will: each occurrence is logged at once.
  void warn_each(std::string_view message, Fields fields = {}) {
    line(LogLevel::warn, message, fields);
  }

  /// Call about once a second: writes the warnings that were held back long enough.
  void tick();

  /// Waits for the reader of stderr, at most a second. Call it before the process exits.
  void flush();

 private:
  using Clock = std::chrono::steady_clock;
  struct Held {
    Clock::time_point until;
    unsigned times = 0;
    std::string latest;
    std::string message;
  };

  std::string fields_text(Fields fields) const;
  std::string line_text(LogLevel level, std::string_view message, std::string_view fields) const;
  void line(LogLevel level, std::string_view message, Fields fields);
  void write(LogLevel level, std::string_view message, std::string_view fields);
  void report_dropped();

  LogLevel level_;
  LogFormat format_;
  Output output_{2};
  unsigned long dropped_ = 0;                       ///< lines since the last one that was written
  std::map<std::string, Held, std::less<>> quiet_;  ///< by message and code
};

/// Quoted and escaped as JSON, including the controls that terminals act on; long text is
/// truncated.
std::string quote_text(std::string_view text);

}  // namespace sidekick::host
