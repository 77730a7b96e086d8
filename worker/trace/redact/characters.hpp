// The characters of a text that must not be told, and which others may stand where each stands: as
// long however it is written (raw, escaped, in a record, in a topic's name), and alike in all that
// the hub decides by. Knows no key.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::trace {

enum class Kind : u8 {
  fixed,  // " \ , : / and line breaks and tabs: others would be longer or shorter elsewhere
  alphanumeric,
  sign,
  control,
  c1_control,
  two_bytes,
  three_bytes,
  three_bytes_high,
  four_bytes,
  high_surrogate,
  low_surrogate,
  // where it matters what is a digit, a letter or an escape: in numbers, dates, and texts that are
  // no ION
  digit,
  first_digit,
  up_to_1,
  up_to_2,
  up_to_3,
  up_to_5,
  letter,
  hex_digit,
  no_hex_digit,
  no_escape,
  no_utf8,
};

/// What stands in one place of a text.
struct Place {
  u32 code;  ///< Unicode; of a byte that is no UTF-8 the byte
  Kind kind;
  u8 size;         ///< in bytes, as it is written
  bool is_escape;  ///< \uXXXX, two of them beyond U+FFFF
};

enum class Writing : u8 {
  fixed,   ///< stays
  plain,   ///< decoded
  string,  ///< between the quotes of an ION string; its escapes may be wrong
  number,  ///< of ION
  date,    ///< of ION, without date:
  word,    ///< outside the strings of a text that is no ION
};

void append_places(std::vector<Place>& out, Bytes written, Writing writing);

/// How many characters there are of a kind, and which; a fixed one is the only one of its kind.
u32 count_of(Kind kind);
u32 index_of(const Place& place);
u32 code_at(Kind kind, u32 index);

/// Writes `code` as what stands at `place` is written.
void append_code(std::string& out, const Place& place, u32 code);

}  // namespace sidekick::trace
