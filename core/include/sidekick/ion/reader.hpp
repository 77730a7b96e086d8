// Reads ION text in one pass, strictly and totally: every input ends in a verdict, nothing
// recurses, nothing allocates. Values are not decoded into a tree: the reader validates them and
// hands out slices of the text. Grammar and decisions: docs/ion.md.
#pragma once

#include <array>
#include <string>

#include "sidekick/base.hpp"

namespace sidekick::ion {

/// The deepest nesting a reader can be asked to accept; `depth_max` of the configuration is at most
/// this.
inline constexpr u32 depth_ceiling = 1024;

enum class Kind : u8 { null, boolean, number, string, date, array, object, map, set };

/// The name of a kind as error messages use it: "a string", "an object".
const char* name_of(Kind kind);

/// What the text should have had where reading stopped. The same text always gives the same fault
/// at the same offset.
enum class Fault : u8 {
  none,
  value,             ///< a value
  key,               ///< a string as object key
  colon,             ///< ':'
  comma_or_brace,    ///< ',' or '}'
  comma_or_bracket,  ///< ',' or ']'
  brace_after_word,  ///< '{' after `map` or `set`
  closing_quote,     ///< the text ended inside a string
  escape,            ///< a JSON escape after a backslash
  hex_digit,         ///< four hex digits after \u
  utf8,              ///< well-formed UTF-8
  digit,             ///< a digit
  date,              ///< an ECMAScript date-time string
  allowed_key,       ///< a key other than __proto__, constructor, prototype
  less_depth,        ///< nesting within depth_max
  end,               ///< the end of the text
};

struct Verdict {
  Fault fault = Fault::none;
  u32 offset = 0;  ///< byte at which `fault` was noticed

  bool ok() const { return fault == Fault::none; }
};

/// "expected ',' or '}', found 'x' at byte 17". `text` is the text that was read. `depth_max` and
/// the name of the setting it comes from (empty: none) are used for less_depth only.
std::string describe(Verdict verdict, Bytes text, u32 depth_max, Bytes limit_name = {});

/// Whether `text` is one ION document with at most `depth_max` (<= depth_ceiling) levels of
/// nesting.
Verdict validate(Bytes text, u32 depth_max);

/// A slice of the text: for strings without the quotes, for everything else the value as written.
struct Slice {
  Bytes raw;
  Kind kind = Kind::null;
  bool escaped = false;  ///< a string with at least one backslash: use append_decoded
};

/// Appends the text that a string slice stands for, as UTF-8; a lone surrogate escape becomes its
/// three WTF-8 bytes. `raw` must have been accepted by a reader.
void append_decoded(std::string& out, Bytes raw);

/// A pull reader. Calls follow the text: enter what you expect, walk its members or elements, skip
/// what you pass on. After the first fault every call returns false and `verdict()` says what it
/// was. Slices live as long as the text.
class Reader {
 public:
  Reader(Bytes text, u32 depth_max);

  /// Validates one value of any kind and gives its slice.
  bool read(Slice& value);

  /// The kind of the value that comes next, judged by its first byte; false (and a fault) if no
  /// value can start so.
  bool peek(Kind& kind);

  /// Opens an object / array. The next value must be one, as told by peek.
  bool enter_object() { return enter('{'); }
  bool enter_array() { return enter('['); }

  /// Moves to the next member: gives its key and stands before its value. False at the end of the
  /// object or on a fault.
  bool next_member(Slice& key);

  /// Moves to the next element. False at the end of the array or on a fault.
  bool next_element();

  /// Call after the document's value: only whitespace may follow.
  bool finish();

  Verdict verdict() const { return verdict_; }
  bool ok() const { return verdict_.ok(); }

 private:
  enum class Frame : u8 { object, array, set, map_key, map_value };

  bool fail(Fault fault, const char* at);
  void skip_space();
  bool enter(char bracket);
  bool push(Frame frame);
  bool begin_value(Slice& value, bool& opened);
  bool skip_tail(u32 base);
  bool read_key(Slice& key);
  bool read_string(Slice& value);
  bool read_escape();
  bool read_number();
  bool read_date();
  bool read_word(Bytes word);
  bool open_after_word(u32 word_size, Frame frame);

  const char* begin_;
  const char* at_;
  const char* end_;
  u32 depth_max_;
  u32 depth_ = 0;
  bool fresh_ = false;  // a container was just entered: no comma is due before its first member
  Verdict verdict_;
  std::array<Frame, depth_ceiling> frames_;
};

/// Whether `bytes` are well-formed UTF-8.
bool is_utf8(Bytes bytes);

/// Whether `text` (what follows `date:`) is a date that every JavaScript engine reads as the same
/// instant (or, without an offset, as the same local time): ECMA-262 "Date Time String Format",
/// real calendar dates, within 8.64e15 ms of 1970.
bool is_date(Bytes text);

}  // namespace sidekick::ion
