// Reads traces (docs/architecture.md, "Traces") a line at a time; holds one line, never the file.
// Knows no hub.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "sidekick/border.hpp"
#include "sidekick/config.hpp"

namespace sidekick::trace {

/// The secret of a replaying hub: a trace only has whether a bearer was right.
inline constexpr Bytes replay_secret = "replay";

class Reader {
 public:
  enum class Step : u8 {
    header,  ///< config() is that of the hub to create
    input,   ///< pass now() and input() to the hub
    action,  ///< line() is the expected line of the hub
    hash,    ///< line() is the expected result of Recording::append_hash
    end,     ///< is_cut() has the kind
    broken,  ///< error() has what was expected and what came; nothing more can be read
  };

  explicit Reader(std::istream& stream) : stream_(stream) {}

  Step next();

  /// The line last read, without its newline, and its number (from 1). Valid, like everything
  /// below, until the next call of next().
  const std::string& line() const { return line_; }
  u64 line_number() const { return line_number_; }

  /// Of the recording: 1 or 2.
  u32 format() const { return format_; }
  const Config& config() const { return config_; }
  const std::string& config_text() const {
    return config_text_;
  }  ///< the same, for sidekick_create
  Millis now() const { return now_; }
  const Input& input() const { return *input_; }
  const std::string& error() const { return error_; }

  /// Whether the last line was cut off while it was written: it is skipped if it is not JSON.
  bool is_cut() const { return is_cut_; }

  /// At a header: whether the line above it was cut off. It is skipped.
  bool follows_cut() const { return follows_cut_; }

  /// At a header: the number of lines that are missing above it, since the reader of a live page
  /// was too slow. The line that says so is skipped.
  u64 lines_missed() const { return lines_missed_; }

 private:
  struct Document;

  bool read_line();
  Step pass_torn_line();
  Step pass_gap(const Document& gap);
  Step fail(Bytes expected);
  Step read_header(const Document& document);
  Step read_input(const Document& document);
  void complete_format_1();
  template <class Number>
  bool read_number(const Document& document, Bytes name, Number& number);
  bool read_bytes(const Document& document, Bytes name, Bytes& bytes);
  bool read_list(const Document& document, Bytes name, std::span<const Bytes>& list);

  std::istream& stream_;
  std::string line_;
  u64 line_number_ = 0;
  bool has_header_ = false;
  u32 format_ = 0;
  bool is_cut_ = false;
  bool follows_cut_ = false;
  u64 lines_missed_ = 0;
  Config config_;
  std::string config_text_;
  Millis now_ = 0;
  std::optional<Input> input_;
  std::vector<std::string> fields_;  // the bytes that input_ points to
  std::vector<std::string> list_texts_;
  std::vector<Bytes> list_;
  std::string error_;
};

}  // namespace sidekick::trace
