// Stand-ins for what must not be told: each character becomes another of its kind (a letter a letter, a digit a digit, another script's of
// as many bytes), punctuation stays. So lengths stay, and what is equal or different stays so: for one key and length it is a permutation,
// which needs no memory. Without the key nobody undoes it.
#pragma once

#include <string>

#include "sidekick/base.hpp"

namespace sidekick::trace {

class StandIns {
 public:
  explicit StandIns(Bytes key);

  /// Of a decoded text: UTF-8; bytes that are not stay.
  std::string of(Bytes text) const;
  /// Of what stands between the quotes of an ION string, escapes as they are written: the same text as of() of what it stands for.
  std::string of_raw_string(Bytes raw) const;
  /// Of a whole ION document: names of the protocol stay where they mean something. Of what is none, word by word: those of the protocol stay.
  std::string of_document(Bytes text) const;

 private:
  u64 key_;
};

}  // namespace sidekick::trace
