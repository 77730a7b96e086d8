// The printer of ion::Value.
#include <charconv>
#include <cmath>

#include "value/value.hpp"
#include "value/value_date.hpp"
#include "value/value_utf8.hpp"

namespace sidekick::ion {
namespace {

void print_number(std::string& out, double number);
void print_string(std::string& out, Bytes text);

/// Prints a scalar, or the start of a container.
void print_start(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::null:
      out += "null";
      return;
    case Value::Kind::boolean:
      out += value.as_boolean() ? "true" : "false";
      return;
    case Value::Kind::number:
      print_number(out, value.as_number());
      return;
    case Value::Kind::string:
      print_string(out, value.as_string());
      return;
    case Value::Kind::date:
      out += "date:";
      out += date_to_text(value.as_date_ms());
      return;
    case Value::Kind::array:
      out += '[';
      return;
    case Value::Kind::object:
      out += value.items().empty() ? "{" : "{ ";
      return;
    case Value::Kind::map:
      out += "map { ";
      return;
    case Value::Kind::set:
      out += "set { ";
      return;
  }
}

void print_end(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::null:
    case Value::Kind::boolean:
    case Value::Kind::number:
    case Value::Kind::string:
    case Value::Kind::date:
      return;
    case Value::Kind::array:
      out += ']';
      return;
    case Value::Kind::object:
      out += value.items().empty() ? "}" : " }";
      return;
    case Value::Kind::map:
    case Value::Kind::set:
      out += " }";
      return;
  }
}

void print_separator(std::string& out, const Value& container, std::size_t next) {
  const bool is_keyed =
      container.kind() == Value::Kind::object || container.kind() == Value::Kind::map;
  if (next == 0) return;
  if (!is_keyed || next % 2 == 0) {
    out += ", ";
    return;
  }
  const bool is_date =
      container.items()[next - 1].kind() == Value::Kind::date;  // the date would include the colon
  out += is_date ? " : " : ": ";
}

/// Number::toString of ECMAScript; only the layout differs from the result of to_chars.
void print_number(std::string& out, double number) {
  if (std::isnan(number)) {
    out += "NaN";
    return;
  }
  if (std::signbit(number) && number != 0) out += '-';
  number = std::fabs(number);
  if (std::isinf(number)) {
    out += "Infinity";
    return;
  }

  char text[32];  // d.ddddde+xx: 17 digits at most
  const char* const text_end =
      std::to_chars(text, text + sizeof text, number, std::chars_format::scientific).ptr;
  const Bytes shortest(text, static_cast<std::size_t>(text_end - text));
  const std::size_t e = shortest.find('e');
  std::string digits(shortest.substr(0, 1));
  if (e > 2) digits += shortest.substr(2, e - 2);
  int exponent = 0;
  const char* const sign = text + e + 1;
  std::from_chars(*sign == '+' ? sign + 1 : sign, text_end, exponent);

  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // the value is 0.digits times 10 to this power
  if (point > 21 || point <= -6) {
    if (count > 1) digits.insert(1, 1, '.');
    out +=
        digits + (exponent < 0 ? "e-" : "e+") + std::to_string(exponent < 0 ? -exponent : exponent);
  } else if (point <= 0) {
    out += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else if (point >= count) {
    out += digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else {
    out += digits.insert(static_cast<std::size_t>(point), 1, '.');
  }
}

void print_u_escape(std::string& out, u32 unit) {
  constexpr char hex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += hex[unit >> shift & 15];
}

/// The short form of a control character, or 0.
char short_escape(char c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\t':
      return 't';
    case '\n':
      return 'n';
    case '\f':
      return 'f';
    case '\r':
      return 'r';
    case '"':
    case '\\':
      return c;
    default:
      return 0;
  }
}

void print_string(std::string& out, Bytes text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const Utf8 next = decode_utf8(text.substr(at), Surrogates::allowed);
    if (next.size == 0) {
      append_utf8(out, 0xFFFD);
      ++at;
      continue;
    }
    if (next.size == 1) {
      const char c = text[at];
      if (const char escape = short_escape(c)) {
        out += '\\';
        out += escape;
      } else if (next.code_point < 0x20) {
        print_u_escape(out, next.code_point);
      } else {
        out += c;
      }
    } else if (is_surrogate(next.code_point)) {
      print_u_escape(out, next.code_point);
    } else {
      out += text.substr(at, next.size);
    }
    at += next.size;
  }
  out += '"';
}

}  // namespace

std::string print(const Value& value) {
  struct Step {
    const Value* container;
    std::size_t next;
  };
  std::string out;
  std::vector<Step> open;
  print_start(out, value);
  open.push_back({&value, 0});
  while (!open.empty()) {
    const Value& container = *open.back().container;
    const std::size_t next = open.back().next++;
    if (next == container.items().size()) {
      print_end(out, container);
      open.pop_back();
      continue;
    }
    print_separator(out, container, next);
    print_start(out, container.items()[next]);
    open.push_back({&container.items()[next], 0});
  }
  return out;
}

}  // namespace sidekick::ion
