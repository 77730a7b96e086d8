// The log: one line per event, on stderr. Text from peers goes into fields only, where it is
// escaped, so that nobody can forge a line or drive a terminal. Callers never pass tokens, secrets
// or message bodies.
#pragma once

#include <chrono>
#include <concepts>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sidekick::host {

enum class LogLevel : unsigned char { silent, error, warn, info, debug };

inline constexpr std::string_view log_level_names[] = {"silent", "error", "warn", "info", "debug"};

class Log {
 public:
  /// A name and a value; numbers stand bare, text is quoted and escaped.
  struct Field {
    template <std::integral Number>
    Field(std::string_view field, Number value) : name(field), text(std::to_string(value)) {}
    Field(std::string_view field, std::string_view value);

    std::string_view name;
    std::string text;
  };
  using Fields = std::initializer_list<Field>;

  explicit Log(LogLevel level) : level_(level) {}

  bool has(LogLevel level) const { return level <= level_; }

  void error(std::string_view message, Fields fields = {}) {
    line(LogLevel::error, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) { line(LogLevel::info, message, fields); }
  void debug(std::string_view message, Fields fields = {}) {
    line(LogLevel::debug, message, fields);
  }

  /// Warnings tell what peers do, who may do it as often as they like: the same message goes out at
  /// once, and then at most every 10 s, with the latest fields and how many `times` it has come
  /// meanwhile.
  void warn(std::string_view message, Fields fields = {});

  /// To be called about once a second: writes the warnings held back for long enough.
  void tick();

 private:
  using Clock = std::chrono::steady_clock;
  struct Held {
    Clock::time_point until;
    unsigned times = 0;
    std::string latest;
  };

  void line(LogLevel level, std::string_view message, Fields fields);
  void write(LogLevel level, std::string_view message, std::string_view fields);

  LogLevel level_;
  std::map<std::string, Held, std::less<>> quiet_;
};

/// In quotes and escaped as JSON, with the controls that terminals act on; cut where it gets long.
std::string quote_text(std::string_view text);

}  // namespace sidekick::host
