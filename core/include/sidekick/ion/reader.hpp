// Reads ION text in one strict pass. Every input ends in a verdict; nothing recurses, nothing
// allocates. The reader does not build a tree: it validates values and returns slices of the text.
// Grammar and decisions: docs/ion.md.
#pragma once

#include <array>
#include <string>

#include "sidekick/base.hpp"

namespace sidekick::ion {

/// The deepest nesting a reader can accept; an upper bound for `depth_max` in the configuration.
inline constexpr u32 depth_ceiling = 1024;

enum class Kind : u8 { null, boolean, number, string, date, array, object, map, set };

/// The name of a kind in error texts: "a string", "an object".
const char* name_of(Kind kind);

/// What was expected where reading stopped. The same text always gives the same fault at the same
/// offset.
enum class Fault : u8 {
  none,
  value,             ///< a value
  key,               ///< a string as an object key
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
  end,               ///< end of text
};

struct Verdict {
  Fault fault = Fault::none;
  u32 offset = 0;  ///< byte offset of `fault`

  bool ok() const { return fault == Fault::none; }
};

/// Returns a text such as "expected ',' or '}', found 'x' at byte 17". `text` is the text that was
/// read. `depth_max` and the name of its setting (empty: none) are used for less_depth only.
std::string describe(Verdict verdict, Bytes text, u32 depth_max, Bytes limit_name = {});

/// Checks that `text` is one ION document with at most `depth_max` (<= depth_ceiling) levels of
/// nesting.
Verdict validate(Bytes text, u32 depth_max);

/// A slice of the text: without the quotes for a string, as written for any other value.
struct Slice {
  Bytes raw;
  Kind kind = Kind::null;
  bool escaped = false;  ///< a string with at least one backslash: use append_decoded
};

/// Appends the decoded text of a string slice as UTF-8; the escape of a lone surrogate becomes
/// three WTF-8 bytes. `raw` must have been accepted by a reader.
void append_decoded(std::string& out, Bytes raw);

/// A pull reader. Calls follow the text: enter what you expect, iterate over members or elements,
/// skip what you pass on. After the first fault every call returns false, and `verdict()` returns
/// the fault. Slices live as long as the text.
class Reader {
 public:
  Reader(Bytes text, u32 depth_max);

  /// Validates one value of any kind and returns its slice.
  bool read(Slice& value);

  /// Returns the kind of the next value, judged by its first byte; false (and a fault) if no value
  /// starts with it.
  bool peek(Kind& kind);

  /// Opens an object or array. The next value must be one, as reported by peek.
  bool enter_object() { return enter('{'); }
  bool enter_array() { return enter('['); }

  /// Moves to the next member: returns its key and stops before its value. False at the end of the
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
  bool fresh_ = false;  // a container was just entered: its first member follows without a comma
  Verdict verdict_;
  std::array<Frame, depth_ceiling> frames_;
};

/// Returns whether `bytes` are well-formed UTF-8.
bool is_utf8(Bytes bytes);

/// Returns whether `text` (the part after `date:`) is a date that every JavaScript engine parses to
/// the same instant (or, without an offset, to the same local time): ECMA-262 "Date Time String
/// Format", an existing calendar date, within 8.64e15 ms of 1970.
bool is_date(Bytes text);

}  // namespace sidekick::ion
