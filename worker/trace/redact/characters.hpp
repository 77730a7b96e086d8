// The characters of a private text, and the possible replacements for each: of the same length in
// every notation (raw, escaped, in a record, in a topic's name), and equal in everything the hub
// decides by. Knows no key.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::trace {

enum class Kind : u8 {
  fixed,  // " \ , : / and line breaks and tabs: others would have another length elsewhere
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
  // where digits, letters and escapes matter: in numbers, dates, and texts that are not ION
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

/// One place of a text.
struct Place {
  u32 code;  ///< Unicode; for a byte that is not UTF-8, the byte
  Kind kind;
  u8 size;         ///< in bytes, as written
  bool is_escape;  ///< \uXXXX, twice beyond U+FFFF
};

enum class Writing : u8 {
  fixed,   ///< unchanged
  plain,   ///< decoded
  string,  ///< between the quotes of an ION string; its escapes may be invalid
  number,  ///< of ION
  date,    ///< of ION, without date:
  word,    ///< outside the strings of a text that is not ION
};

void append_places(std::vector<Place>& out, Bytes written, Writing writing);

/// The characters of a kind, and their number; a fixed one is the only one of its kind.
u32 count_of(Kind kind);
u32 index_of(const Place& place);
u32 code_at(Kind kind, u32 index);

/// Writes `code` in the notation of `place`.
void append_code(std::string& out, const Place& place, u32 code);

}  // namespace sidekick::trace
