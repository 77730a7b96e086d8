// The reader of ion::Value. It deliberately shares no code with the hub's reader: the two check
// each other.
#include <algorithm>
#include <charconv>
#include <limits>

#include "value/value.hpp"
#include "value/value_date.hpp"
#include "value/value_utf8.hpp"

namespace sidekick::ion {

/// One run over one text. The first error stops it.
class ValueReader {
 public:
  ValueReader(Bytes text, u32 depth_max) : text_(text), depth_max_(depth_max) {}

  ParseResult read();

 private:
  /// A container that is still open.
  struct Open {
    Value::Kind kind;
    std::vector<Value> items;

    bool is_keyed() const { return kind == Value::Kind::object || kind == Value::Kind::map; }
    /// The pending key, until its value has been read.
    bool needs_value() const { return is_keyed() && items.size() % 2 == 1; }
    char end() const { return kind == Value::Kind::array ? ']' : '}'; }
  };
  enum class Next : u8 { item, after_item, done };

  // Each reads from `at_`, and returns what may follow, or fails.
  Next read_item();
  Next read_after_item();
  Next open(Value::Kind kind, Bytes word);
  Next close();
  Next deliver(Value value);
  Next fail(std::size_t offset, std::string_view expected);
  Next fail(std::size_t offset, std::string_view expected, std::string found);

  Next read_number();
  Next read_date();
  Next read_string();
  bool read_escape(std::string& out);
  std::optional<u32> read_u_escape();

  bool is_at_key() const {
    return !open_.empty() && open_.back().kind == Value::Kind::object &&
           !open_.back().needs_value();
  }
  bool is_end() const { return at_ == text_.size(); }
  bool is_at(char c) const { return !is_end() && text_[at_] == c; }
  bool is_at_digit() const { return !is_end() && text_[at_] >= '0' && text_[at_] <= '9'; }
  bool take(char c);
  bool take(Bytes word);
  void skip_space();
  std::string quote(std::size_t first, std::size_t size) const;

  Bytes text_;
  std::size_t at_ = 0;
  u32 depth_max_;
  std::vector<Open> open_;
  ParseResult result_;
};

ParseResult parse(Bytes text, ParseOptions options) {
  return ValueReader(text, options.depth_max).read();
}

std::string ParseError::describe() const {
  return "expected " + expected + ", found " + found + " at byte " + std::to_string(offset);
}

ParseResult ValueReader::read() {
  Next next = Next::item;
  while (next != Next::done) {
    skip_space();
    next = next == Next::item ? read_item() : read_after_item();
  }
  return std::move(result_);
}

ValueReader::Next ValueReader::read_item() {
  if (is_at_key() && !is_at('"')) return fail(at_, "a member's name in double quotes");
  if (is_end()) return fail(at_, "a value");
  switch (text_[at_]) {
    case '{':
      return open(Value::Kind::object, "");
    case '[':
      return open(Value::Kind::array, "");
    case 'm':
      return open(Value::Kind::map, "map");
    case 's':
      return open(Value::Kind::set, "set");
    case '"':
      return read_string();
    case 'd':
      return read_date();
    default:
      break;
  }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (take("null")) return deliver({});
  if (take("true")) return deliver(true);
  if (take("false")) return deliver(false);
  if (take("NaN")) return deliver(std::numeric_limits<double>::quiet_NaN());
  if (take("Infinity")) return deliver(infinity);
  if (take("-Infinity")) return deliver(-infinity);
  if (is_at('-') || is_at_digit()) return read_number();
  return fail(at_, "a value");
}

ValueReader::Next ValueReader::read_after_item() {
  if (open_.empty()) return is_end() ? Next::done : fail(at_, "the end of the text");
  const Open& container = open_.back();
  if (container.needs_value()) return take(':') ? Next::item : fail(at_, "':'");
  if (take(',')) return Next::item;
  if (take(container.end())) return close();
  return fail(at_, container.end() == ']' ? "',' or ']'" : "',' or '}'");
}

ValueReader::Next ValueReader::open(Value::Kind kind, Bytes word) {
  const std::size_t start = at_;
  if (!take(word)) return fail(start, "a value");
  if (!word.empty()) skip_space();
  if (!take(kind == Value::Kind::array ? '[' : '{'))
    return fail(at_, "'{' after " + std::string(word));
  if (open_.size() == depth_max_)
    return fail(start, "at most " + std::to_string(depth_max_) + " levels");
  open_.push_back({kind, {}});
  skip_space();
  return take(open_.back().end()) ? close() : Next::item;
}

ValueReader::Next ValueReader::close() {
  Value value = Value::container(open_.back().kind, std::move(open_.back().items));
  open_.pop_back();
  return deliver(std::move(value));
}

ValueReader::Next ValueReader::deliver(Value value) {
  if (open_.empty()) {
    result_.value = std::move(value);
  } else {
    open_.back().items.push_back(std::move(value));
  }
  return Next::after_item;
}

ValueReader::Next ValueReader::fail(std::size_t offset, std::string_view expected) {
  return fail(offset, expected, offset == text_.size() ? "the end of the text" : quote(offset, 1));
}

ValueReader::Next ValueReader::fail(std::size_t offset, std::string_view expected,
                                    std::string found) {
  result_.value.reset();
  result_.error = {offset, std::string(expected), std::move(found)};
  return Next::done;
}

namespace {

/// The value of a number outside the range of a double: infinity, or 0 if it is too small.
double nearest_limit(Bytes number) {
  const std::size_t e = number.find_first_of("eE");
  const Bytes mantissa = number.substr(0, e);
  Bytes exponent = e == Bytes::npos ? "0" : number.substr(e + 1);
  if (exponent.front() == '+') exponent.remove_prefix(1);

  std::int64_t power = 0;
  const auto parsed = std::from_chars(exponent.data(), exponent.data() + exponent.size(), power);
  // An exponent of 20 digits outweighs every mantissa that fits into memory.
  if (parsed.ec != std::errc{}) power = exponent.front() == '-' ? INT64_MIN / 2 : INT64_MAX / 2;
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::size_t first_digit = mantissa.find_first_of("123456789");
  power += static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first_digit);

  const double limit = power > 0 ? std::numeric_limits<double>::infinity() : 0;
  return number.front() == '-' ? -limit : limit;
}

}  // namespace

/// JSON's grammar, strictly: the reference also accepts `1.`, `-` and `1e`.
ValueReader::Next ValueReader::read_number() {
  const std::size_t start = at_;
  const auto take_digits = [&] {
    const std::size_t first = at_;
    while (is_at_digit()) ++at_;
    return at_ > first;
  };
  take('-');
  if (!take('0') && !take_digits()) return fail(at_, "a digit");
  if (take('.') && !take_digits()) return fail(at_, "a digit after the point");
  if (take('e') || take('E')) {
    if (!take('-')) take('+');
    if (!take_digits()) return fail(at_, "a digit of the exponent");
  }
  const Bytes token = text_.substr(start, at_ - start);
  double number = 0;
  const auto parsed = std::from_chars(token.data(), token.data() + token.size(), number);
  if (parsed.ec != std::errc{}) number = nearest_limit(token);
  return deliver(number);
}

ValueReader::Next ValueReader::read_date() {
  const std::size_t start = at_;
  if (!take("date:")) return fail(start, "a value");
  const std::size_t end = std::min(text_.find_first_of(" \t\r\n,}]", at_), text_.size());
  const auto ms = date_from_text(text_.substr(at_, end - at_));
  if (!ms)
    return fail(start, "a date such as date:2026-01-27T15:30:00.000Z", quote(start, end - start));
  at_ = end;
  return deliver(Value::date(*ms));
}

ValueReader::Next ValueReader::read_string() {
  const std::size_t start = at_;
  std::string content;
  take('"');
  while (!take('"')) {
    if (is_end())
      return fail(at_, "the end of the string that began at byte " + std::to_string(start));
    if (is_at('\\')) {
      if (!read_escape(content))
        return fail(at_, R"(one of \" \\ \/ \b \f \n \r \t or \u and four hex digits)");
      continue;
    }
    const Utf8 next = decode_utf8(text_.substr(at_), Surrogates::refused);
    if (next.size == 0) return fail(at_, "UTF-8");
    content += text_.substr(at_, next.size);
    at_ += next.size;
  }
  if (is_at_key() && Value::is_forbidden_key(content)) {
    return fail(start, "a member's name other than __proto__, constructor and prototype",
                quote(start, at_ - start));
  }
  return deliver(std::move(content));
}

/// Appends the character of an escape. Consumes nothing if the escape is invalid.
bool ValueReader::read_escape(std::string& out) {
  constexpr Bytes letters = "\"\\/bfnrt";
  constexpr Bytes meanings = "\"\\/\b\f\n\r\t";
  const std::size_t letter = at_ + 1 < text_.size() ? letters.find(text_[at_ + 1]) : Bytes::npos;
  if (letter != Bytes::npos) {
    out += meanings[letter];
    at_ += 2;
    return true;
  }
  auto code_point = read_u_escape();
  if (!code_point) return false;
  if (is_high_surrogate(*code_point)) {
    const std::size_t before = at_;
    const auto low = read_u_escape();
    if (low && is_low_surrogate(*low)) {
      code_point = 0x10000 + ((*code_point - 0xD800) << 10) + (*low - 0xDC00);
    } else {
      at_ = before;
    }
  }
  append_utf8(out, *code_point);
  return true;
}

std::optional<u32> ValueReader::read_u_escape() {
  const Bytes escape = text_.substr(at_, 6);
  if (escape.size() < 6 || !escape.starts_with("\\u")) return std::nullopt;
  u32 unit = 0;
  const auto parsed = std::from_chars(escape.data() + 2, escape.data() + 6, unit, 16);
  if (parsed.ptr != escape.data() + 6) return std::nullopt;
  at_ += 6;
  return unit;
}

bool ValueReader::take(char c) {
  if (!is_at(c)) return false;
  ++at_;
  return true;
}

bool ValueReader::take(Bytes word) {
  if (!text_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

void ValueReader::skip_space() {
  at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
}

/// An excerpt of the text that fits on one line of a message.
std::string ValueReader::quote(std::size_t first, std::size_t size) const {
  constexpr std::size_t size_max = 60;
  std::string out = "'";
  for (const char c : text_.substr(first, std::min(size, size_max))) {
    if (c >= 0x20 && c < 0x7F) {
      out += c;
      continue;
    }
    constexpr char hex[] = "0123456789abcdef";
    out += "\\x";
    out += hex[static_cast<u8>(c) >> 4];
    out += hex[static_cast<u8>(c) & 15];
  }
  return out + (size > size_max ? "...'" : "'");
}

}  // namespace sidekick::ion
