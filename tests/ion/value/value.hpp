// ION values in memory: parse a text, inspect it, build one, print it. For C++ users, tools and
// tests. The hub does not use it, since it relays payloads as raw slices; it is not part of the
// WASM modules. It has its own reader and so checks the hub's: both must accept and reject the same
// texts. Nothing here recurses: memory and `ParseOptions` bound the nesting, never the stack.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::ion {

/// One ION value, with the meaning it has for a JavaScript reader.
///
/// Numbers are doubles. Strings are UTF-8, with a lone surrogate (possible in JavaScript strings)
/// as its three WTF-8 bytes. Dates are milliseconds since the Unix epoch, at most `date_ms_max`
/// away from it.
///
/// Objects keep the order in which JavaScript enumerates: integer keys from 0 to 4294967294 first,
/// ascending, then the others in insertion order. Of duplicate keys the last value wins, at the
/// position of the first. Maps and sets keep insertion order. Their keys are equal as in
/// JavaScript's Map: null, booleans, numbers and strings by value (NaN equals NaN, -0 becomes 0),
/// everything else by identity, hence never.
class Value {
 public:
  enum class Kind : u8 { null, boolean, number, string, date, array, object, map, set };

  static constexpr std::int64_t date_ms_max = 8'640'000'000'000'000;

  Value() = default;
  Value(std::same_as<bool> auto value) : kind_(Kind::boolean), boolean_(value) {}
  Value(double value) : kind_(Kind::number), number_(value) {}
  Value(int value) : Value(static_cast<double>(value)) {}
  Value(const char* text) : Value(std::string(text)) {}
  /// `text`: WTF-8. Other bytes are printed as U+FFFD.
  Value(std::string text) : kind_(Kind::string), text_(std::move(text)) {}

  /// `ms`: traps beyond ±`date_ms_max`, the range of JavaScript dates.
  static Value date(std::int64_t ms);
  static Value array(std::vector<Value> items);
  static Value set(std::vector<Value> items);
  static Value map(std::vector<std::pair<Value, Value>> entries);
  /// Traps on a key that `is_forbidden_key`: no reader would accept the printed text.
  static Value object(std::vector<std::pair<std::string, Value>> members);

  /// `__proto__`, `constructor` and `prototype`: readers reject objects with these keys.
  static bool is_forbidden_key(Bytes key);

  Value(const Value& other);
  Value(Value&& other) noexcept = default;
  Value& operator=(Value other) noexcept;
  ~Value();

  Kind kind() const { return kind_; }
  /// Each traps on a value of another kind.
  bool as_boolean() const;
  double as_number() const;
  const std::string& as_string() const;
  std::int64_t as_date_ms() const;

  /// The items of an array or set; key, value, key, value, ... of an object or map; nothing for any
  /// other kind.
  const std::vector<Value>& items() const { return items_; }
  /// The value of the member or map entry with this string as its key, or null.
  const Value* find(Bytes key) const;

 private:
  friend class ValueReader;

  static Value container(Kind kind, std::vector<Value> items);
  void copy_flat(const Value& other);

  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::int64_t date_ms_ = 0;
  std::string text_;
  std::vector<Value> items_;
};

struct ParseOptions {
  /// The maximum nesting of arrays, objects, maps and sets. The default is that of `depth_max` in
  /// limits.def.
  u32 depth_max = 256;
};

struct ParseError {
  u64 offset = 0;  ///< byte offset of the first wrong byte
  std::string expected;
  std::string found;

  /// "expected a value, found ',' at byte 12"
  std::string describe() const;
};

/// Either a value or the reason for its absence.
struct ParseResult {
  std::optional<Value> value;
  ParseError error;

  bool ok() const { return value.has_value(); }
};

/// Reads one ION document. The result owns everything; `text` is not needed afterwards.
///
/// A date with a time but no offset is local time in JavaScript, so two readers may disagree. Here
/// it is UTC, so that a text has the same value on every machine.
ParseResult parse(Bytes text, ParseOptions options = {});

/// The text that `ION.stringify` prints. `parse` and every ION reader read it as the same value (-0
/// as 0). It is always valid UTF-8: lone surrogates are printed as escapes. One difference: a date
/// as a map key is followed by a space, because no reader could parse it otherwise.
std::string print(const Value& value);

}  // namespace sidekick::ion
