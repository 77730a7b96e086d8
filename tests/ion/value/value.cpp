#include "value/value.hpp"

#include <algorithm>
#include <charconv>
#include <map>

namespace sidekick::ion {
namespace {

/// Two keys are equal if and only if they have the same identity; nothing: equal to no other key.
std::optional<std::string> key_identity(const Value& key) {
  switch (key.kind()) {
    case Value::Kind::null:
    case Value::Kind::boolean:
    case Value::Kind::number:
    case Value::Kind::string:
      return print(key);
    case Value::Kind::date:
    case Value::Kind::array:
    case Value::Kind::object:
    case Value::Kind::map:
    case Value::Kind::set:
      return std::nullopt;
  }
  trap();
}

/// JavaScript's position of this key in an object: sorted by number before all others, or (nothing)
/// in insertion order.
std::optional<u32> integer_key(Bytes key) {
  u32 number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  const bool is_whole = error == std::errc{} && end == key.data() + key.size();
  if (!is_whole || number == UINT32_MAX || (key.size() > 1 && key.front() == '0'))
    return std::nullopt;
  return number;
}

/// The positions of an entry's parts in a list of items; entries of a set are keys only.
struct Entry {
  std::size_t key;
  std::size_t value;
};

/// The entries that remain after later ones have overwritten earlier ones with the same key.
std::vector<Entry> distinct_entries(const std::vector<Value>& items, std::size_t width) {
  std::vector<Entry> entries;
  std::map<std::string, std::size_t>
      seen;  // not a hash table: an attacker may choose the keys and know the hash
  for (std::size_t i = 0; i < items.size(); i += width) {
    const Entry entry{i, i + width - 1};
    if (const auto identity = key_identity(items[i])) {
      const auto [found, is_new] = seen.emplace(*identity, entries.size());
      if (!is_new) {
        entries[found->second].value = entry.value;
        continue;
      }
    }
    entries.push_back(entry);
  }
  return entries;
}

void sort_as_javascript(std::vector<Entry>& entries, const std::vector<Value>& items) {
  const auto rank = [&](const Entry& entry) {
    return std::pair(integer_key(items[entry.key].as_string()).value_or(UINT32_MAX), entry.key);
  };
  std::sort(entries.begin(), entries.end(),
            [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
}

}  // namespace

/// Makes a container of `items`: drops overwritten entries, then sorts.
Value Value::container(Kind kind, std::vector<Value> items) {
  Value result;
  result.kind_ = kind;
  if (kind == Kind::array) {
    result.items_ = std::move(items);
    return result;
  }
  const bool is_set = kind == Kind::set;
  auto entries = distinct_entries(items, is_set ? 1 : 2);
  if (kind == Kind::object) sort_as_javascript(entries, items);
  result.items_.reserve(items.size());
  for (const Entry& entry : entries) {
    Value& key = items[entry.key];
    if (key.kind_ == Kind::number && key.number_ == 0) key.number_ = 0;  // -0 becomes 0
    result.items_.push_back(std::move(key));
    if (!is_set) result.items_.push_back(std::move(items[entry.value]));
  }
  return result;
}

Value Value::date(std::int64_t ms) {
  SIDEKICK_CHECK(ms >= -date_ms_max && ms <= date_ms_max);
  Value result;
  result.kind_ = Kind::date;
  result.date_ms_ = ms;
  return result;
}

Value Value::array(std::vector<Value> items) { return container(Kind::array, std::move(items)); }

Value Value::set(std::vector<Value> items) { return container(Kind::set, std::move(items)); }

Value Value::map(std::vector<std::pair<Value, Value>> entries) {
  std::vector<Value> items;
  items.reserve(entries.size() * 2);
  for (auto& [key, value] : entries) {
    items.push_back(std::move(key));
    items.push_back(std::move(value));
  }
  return container(Kind::map, std::move(items));
}

Value Value::object(std::vector<std::pair<std::string, Value>> members) {
  std::vector<Value> items;
  items.reserve(members.size() * 2);
  for (auto& [key, value] : members) {
    SIDEKICK_CHECK(!is_forbidden_key(key));
    items.emplace_back(std::move(key));
    items.push_back(std::move(value));
  }
  return container(Kind::object, std::move(items));
}

bool Value::is_forbidden_key(Bytes key) {
  return key == "__proto__" || key == "constructor" || key == "prototype";
}

Value::Value(const Value& other) {
  struct Pair {
    Value* copy;
    const Value* original;
  };
  std::vector<Pair> pending{{this, &other}};
  while (!pending.empty()) {
    const auto [copy, original] = pending.back();
    pending.pop_back();
    copy->copy_flat(*original);
    copy->items_.resize(original->items_.size());
    for (std::size_t i = 0; i < original->items_.size(); ++i)
      pending.push_back({&copy->items_[i], &original->items_[i]});
  }
}

void Value::copy_flat(const Value& other) {
  kind_ = other.kind_;
  boolean_ = other.boolean_;
  number_ = other.number_;
  date_ms_ = other.date_ms_;
  text_ = other.text_;
}

Value& Value::operator=(Value other) noexcept {
  kind_ = other.kind_;
  boolean_ = other.boolean_;
  number_ = other.number_;
  date_ms_ = other.date_ms_;
  text_.swap(other.text_);
  items_.swap(other.items_);
  return *this;
}

/// Destroys the tree from the top, without recursion: a destroyed value has no items any more.
Value::~Value() {
  std::vector<Value> pending = std::move(items_);
  while (!pending.empty()) {
    std::vector<Value> items = std::move(pending.back().items_);
    pending.pop_back();
    for (Value& item : items) {
      if (!item.items_.empty()) pending.push_back(std::move(item));
    }
  }
}

bool Value::as_boolean() const {
  SIDEKICK_CHECK(kind_ == Kind::boolean);
  return boolean_;
}

double Value::as_number() const {
  SIDEKICK_CHECK(kind_ == Kind::number);
  return number_;
}

const std::string& Value::as_string() const {
  SIDEKICK_CHECK(kind_ == Kind::string);
  return text_;
}

std::int64_t Value::as_date_ms() const {
  SIDEKICK_CHECK(kind_ == Kind::date);
  return date_ms_;
}

const Value* Value::find(Bytes key) const {
  if (kind_ != Kind::object && kind_ != Kind::map) return nullptr;
  for (std::size_t i = 0; i < items_.size(); i += 2) {
    if (items_[i].kind_ == Kind::string && items_[i].text_ == key) return &items_[i + 1];
  }
  return nullptr;
}

}  // namespace sidekick::ion
