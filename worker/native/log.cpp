#include "log.hpp"

#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

namespace sidekick::host {

namespace {

constexpr std::chrono::seconds quiet_time{10};
constexpr std::size_t field_bytes_max = 300;
constexpr std::chrono::seconds flush_time{1};

/// Characters that JSON leaves unescaped but terminals and viewers act on: DEL, C1 controls, line
/// separators, bidirectional controls.
bool is_acted_on(unsigned code) {
  return (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/// Decodes the one to three bytes at `at` as far as is_acted_on needs; `size` receives their
/// number.
unsigned code_at(std::string_view text, std::size_t at, std::size_t& size) {
  const auto byte = [&](std::size_t i) {
    return static_cast<unsigned char>(at + i < text.size() ? text[at + i] : 0);
  };
  size = 1;
  if ((byte(0) & 0xe0) == 0xc0) return size = 2, (byte(0) & 0x1fu) << 6 | (byte(1) & 0x3fu);
  if (byte(0) == 0xe2) return size = 3, 0x2000u | (byte(1) & 0x3fu) << 6 | (byte(2) & 0x3fu);
  return byte(0) == 0x7f ? 0x7fu : 0;
}

std::string time_text() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[48];
  std::snprintf(time, sizeof time, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(ms % 1000));
  return time;
}

}  // namespace

std::string quote_text(std::string_view text) {
  std::string cut(text.substr(0, field_bytes_max));
  if (text.size() > field_bytes_max) cut += "...";
  const std::string json =
      nlohmann::json(cut).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out;
  for (std::size_t at = 0, size = 1; at < json.size(); at += size) {
    const unsigned code = code_at(json, at, size);
    if (is_acted_on(code)) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", code);
      out += escape;
    } else {
      out.append(json, at, size);
    }
  }
  return out;
}

Log::Field::Field(std::string_view field, std::string_view value)
    : name(field), text(quote_text(value)) {}

std::string Log::fields_text(Fields fields) const {
  std::string text;
  for (const Field& field : fields) {
    if (format_ == LogFormat::json)
      text.append(",\"").append(field.name).append("\":").append(field.text);
    else
      text.append(" ").append(field.name).append("=").append(field.text);
  }
  return text;
}

std::string Log::line_text(LogLevel level, std::string_view message,
                           std::string_view fields) const {
  std::string name(log_level_names[static_cast<std::size_t>(level)]);
  std::string text;
  if (format_ == LogFormat::json) {
    text.append("{\"time\":\"").append(time_text()).append("\",\"level\":\"").append(name);
    return text.append("\",\"message\":").append(quote_text(message)).append(fields).append("}\n");
  }
  name.resize(5, ' ');
  text.append(time_text()).append(" ").append(name).append(" ");
  return text.append(message).append(fields).append("\n");
}

void Log::line(LogLevel level, std::string_view message, Fields fields) {
  if (has(level)) write(level, message, fields_text(fields));
}

void Log::warn(std::string_view message, Fields fields) {
  if (!has(LogLevel::warn)) return;
  std::string kind(message);
  for (const Field& field : fields) {
    if (field.name == "code") kind += " " + field.text;
  }
  const auto held = quiet_.find(kind);
  if (held != quiet_.end()) {
    ++held->second.times;
    held->second.latest = fields_text(fields);
    return;
  }
  write(LogLevel::warn, message, fields_text(fields));
  quiet_[kind] = {Clock::now() + quiet_time, 0, {}, std::string(message)};
}

void Log::tick() {
  report_dropped();
  for (auto it = quiet_.begin(); it != quiet_.end();) {
    Held& held = it->second;
    if (Clock::now() < held.until) {
      ++it;
    } else if (held.times == 0) {
      it = quiet_.erase(it);
    } else {
      write(LogLevel::warn, held.message, held.latest + fields_text({{"times", held.times}}));
      held = {Clock::now() + quiet_time, 0, {}, held.message};
      ++it;
    }
  }
}

void Log::write(LogLevel level, std::string_view message, std::string_view fields) {
  report_dropped();
  if (dropped_ > 0 || !output_.write(line_text(level, message, fields))) ++dropped_;
}

void Log::report_dropped() {
  if (dropped_ == 0) return;
  const Field lines("lines", dropped_);
  if (output_.write(line_text(LogLevel::warn, "log lines were dropped: stderr is read too slowly",
                              fields_text({lines}))))
    dropped_ = 0;
}

void Log::flush() { output_.flush(flush_time); }

}  // namespace sidekick::host
