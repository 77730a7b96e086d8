// Checks an answer of shrink's child processes as it arrives: it must repeat the header and each
// input, and end. Checks nothing else.
#pragma once

#include <string>

#include "sidekick/base.hpp"

namespace sidekick::trace {

class AnswerCheck {
 public:
  explicit AnswerCheck(u64 inputs_asked) : inputs_asked_(inputs_asked) {}

  /// text: everything received so far. Returns an empty text, or the error.
  std::string look(Bytes text);

  /// At the hash line that ends it.
  std::string end() const;

 private:
  static constexpr std::size_t bytes_per_input_max = 256 << 20;

  u64 inputs_asked_;
  u64 inputs_ = 0;
  std::size_t at_ = 0;        // the first incomplete line
  std::size_t input_at_ = 0;  // the last input
};

}  // namespace sidekick::trace
