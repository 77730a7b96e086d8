// An answer of shrink's parties, looked at as it comes: it must repeat the header and each input,
// and come to an end. Judges no more of it.
#pragma once

#include <string>

#include "sidekick/base.hpp"

namespace sidekick::trace {

class AnswerCheck {
 public:
  explicit AnswerCheck(u64 inputs_asked) : inputs_asked_(inputs_asked) {}

  /// text: all that has come. Returns an empty text, or what is wrong.
  std::string look(Bytes text);

  /// At the hash line that ends it.
  std::string end() const;

 private:
  static constexpr std::size_t bytes_per_input_max = 256 << 20;

  u64 inputs_asked_;
  u64 inputs_ = 0;
  std::size_t at_ = 0;        // the first line that is not whole yet
  std::size_t input_at_ = 0;  // the last input
};

}  // namespace sidekick::trace
