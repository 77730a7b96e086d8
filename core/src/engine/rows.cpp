// A value is a sequence of numbers, each followed by a space, and of texts: the length, a colon and
// the bytes, or `-` if there is no text.
#include "engine/rows.hpp"

#include <algorithm>

#include "base/numbers.hpp"
#include "sidekick/text.hpp"

namespace sidekick::engine {

namespace {

/// Digits of a stamp in a key, including leading zeros, so that keys sort as stamps do.
constexpr std::size_t stamp_digits = 17;
/// Digits of a number in a value. Enough for a time number_max milliseconds ahead.
constexpr u32 digits_max = 17;

std::string padded(u64 at) {
  const Digits digits(at);
  const Bytes text = digits;
  return std::string(stamp_digits - std::min(text.size(), stamp_digits), '0').append(text);
}

std::string sized(const std::optional<Bytes>& text) {
  return text ? compose({Digits(text->size()), ":", *text}) : "-";
}

class Reader {
 public:
  explicit Reader(Bytes value) : rest_(value) {}

  bool number(u64& out) { return digits(' ', out); }

  bool flag(bool& out) {
    u64 number = 0;
    if (!digits(' ', number) || number > 1) return false;
    out = number == 1;
    return true;
  }

  bool text(std::optional<Bytes>& out) {
    if (rest_.starts_with('-')) {
      rest_.remove_prefix(1);
      return true;
    }
    u64 size = 0;
    if (!digits(':', size) || size > rest_.size()) return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  bool is_at_end() const { return rest_.empty(); }
  Bytes rest() const { return rest_; }

 private:
  bool digits(char end, u64& out) {
    const std::size_t size = rest_.substr(0, digits_max + 1).find(end);
    if (size == Bytes::npos || !decode_number(rest_.substr(0, size), 10, digits_max, out))
      return false;
    rest_.remove_prefix(size + 1);
    return true;
  }

  Bytes rest_;
};

}  // namespace

void Rows::put_token(Bytes name, const TokenRow& row) {
  if (!is_on_) return;
  put(RowKind::token, {name},
      compose({Digits(row.registered), " ", Digits(row.expires_at), " ", sized(row.record),
               sized(row.node), sized(row.session)}));
}

bool decode_token_row(Bytes value, TokenRow& row) {
  Reader in(value);
  const bool is_read = in.number(row.registered) && in.number(row.expires_at) &&
                       in.text(row.record) && in.text(row.node) && in.text(row.session) &&
                       in.is_at_end();
  if (!is_read) return false;
  if (row.session) return row.record && row.node;  // held
  return row.record ? !row.node : row.node == erased_node;
}

void Rows::put_node(Bytes name, const NodeRow& row) {
  if (!is_on_) return;
  put(RowKind::node, {name},
      compose({row.is_attached ? "1 " : "0 ", row.has_lease ? "1 " : "0 ", Digits(row.lease_until),
               " "}));
}

bool decode_node_row(Bytes value, NodeRow& row) {
  Reader in(value);
  return in.flag(row.is_attached) && in.flag(row.has_lease) && in.number(row.lease_until) &&
         in.is_at_end();
}

void Rows::put_message(Bytes topic, u64 at, const MessageRow& row) {
  if (!is_on_) return;
  put(RowKind::message, {topic, padded(at)},
      compose({Digits(row.before), " ", Digits(row.expires_at), " ", row.text}));
}

bool decode_message_row(Bytes value, MessageRow& row) {
  Reader in(value);
  const bool is_ok = in.number(row.before) && in.number(row.expires_at);
  row.text = in.rest();
  return is_ok;
}

bool decode_message_key(Bytes key, Bytes& topic, u64& at) {
  if (key.size() < stamp_digits) return false;
  topic = key.substr(0, key.size() - stamp_digits);
  at = 0;
  for (const char c : key.substr(topic.size())) {
    if (c < '0' || c > '9') return false;
    at = at * 10 + static_cast<u64>(c - '0');
  }
  return at <= number_max;
}

void Rows::put_bound(u64 at) {
  if (is_on_) put(RowKind::bound, {}, compose({Digits(at), " "}));
}

bool decode_bound(Bytes value, u64& at) {
  Reader in(value);
  return in.number(at) && in.is_at_end() && at <= number_max;
}

void Rows::erase_token(Bytes name) { erase(RowKind::token, {name}); }
void Rows::erase_node(Bytes name) { erase(RowKind::node, {name}); }
void Rows::erase_message(Bytes topic, u64 at) { erase(RowKind::message, {topic, padded(at)}); }

void Rows::put(RowKind kind, std::initializer_list<Bytes> key, std::string value) {
  erase(kind, key);
  rows_.back().value = std::move(value);
}

void Rows::erase(RowKind kind, std::initializer_list<Bytes> key) {
  if (!is_on_) return;
  std::string text(1, static_cast<char>(kind));
  for (const Bytes part : key) text.append(part);
  rows_.push_back({std::move(text), std::nullopt});
}

}  // namespace sidekick::engine
