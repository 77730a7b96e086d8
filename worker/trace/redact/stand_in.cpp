#include "redact/stand_in.hpp"

#include <algorithm>
#include <cstring>

#include "base/hash_index.hpp"
#include "sidekick/ion/reader.hpp"

namespace sidekick::trace {

namespace {

constexpr Bytes member_names[] = {"type",        "token",          "channel",   "params",
                                  "data",        "context",        "resources", "tokens",
                                  "tokens_gone", "resources_gone", "fault",     "message",
                                  "error",       "hello",          "session",   "epoch",
                                  "id",          "since",          "again",     "registered_at"};
constexpr Bytes meanings[] = {"subscribe", "unsubscribe", "send",   "listen",   "unlisten",
                              "ping",      "client",      "server", "sidekick", "message"};
constexpr Bytes forbidden_keys[] = {"__proto__", "constructor", "prototype"};
constexpr Bytes methods[] = {"GET",    "HEAD",    "POST",    "PUT",  "PATCH",
                             "DELETE", "OPTIONS", "CONNECT", "TRACE"};
constexpr std::size_t name_bytes_max = 14;
constexpr u32 attempts_max =
    2000;  // more are needed only for words without an alternative, as in [truex]
constexpr u32 uses_max = 10'000;  // attempts to find one that may be used: 1 in 256 may

bool is_one_of(Bytes text, const auto& list) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

u64 hash_numbers(u64 key, u64 first, u64 second) {
  char bytes[16];
  std::memcpy(bytes, &first, 8);
  std::memcpy(bytes + 8, &second, 8);
  return hash_bytes(key, Bytes(bytes, sizeof bytes));
}

/// The swap-or-not shuffle (Hoang, Morris, Rogaway 2012): a permutation of the numbers below
/// `count`, for any count.
u64 shuffled(u64 key, u64 number, u64 count) {
  u64 rounds = 32;
  for (u64 left = count; left > 0; left /= 2) rounds += 5;
  for (u64 round = 0; round < rounds; ++round) {
    const u64 partner = (hash_numbers(key, round, count) % count + count - number) % count;
    if ((hash_numbers(key, ~round, std::max(number, partner)) & 1) != 0) number = partner;
  }
  return number;
}

bool is_narrowed(Writing writing, Kind kind) {
  return (writing == Writing::plain || writing == Writing::string) && kind == Kind::sign;
}

}  // namespace

bool is_member_name(Bytes text) { return is_one_of(text, member_names); }
bool is_meaning(Bytes text) { return is_one_of(text, meanings); }
bool is_forbidden_key(Bytes text) { return is_one_of(text, forbidden_keys); }
bool is_method(Bytes text) { return is_one_of(text, methods); }

StandIn::StandIn(Bytes key) : key_(hash_bytes(0, key)) {}

void StandIn::add(Bytes written, Writing writing) {
  const std::size_t begin = places_.size();
  append_places(places_, written, writing);
  parts_.push_back({written, writing, begin, places_.size()});
}

std::string StandIn::finish(const std::function<bool(Bytes)>& may_be_used) {
  codes_.clear();
  for (const Place& place : places_) codes_.push_back(place.code);
  u64 count = 1;
  if (!count_texts(count)) {
    u64 seed = hash_places(true);
    draw(seed);
    for (u32 use = 1; use < uses_max && may_be_used && !may_be_used(written()); ++use)
      draw(seed = hash_numbers(seed, use, 0));
  } else if (count > 1) {
    permute(count, may_be_used);
  }
  std::string text = written();
  parts_.clear();
  places_.clear();
  return text;
}

/// Number of texts with the same kinds of characters; false if it is too large to matter.
bool StandIn::count_texts(u64& count) const {
  constexpr u64 texts_max = u64{1} << 59;
  for (const Place& place : places_) {
    const u32 radix = count_of(place.kind);
    if (count > texts_max / radix) return false;
    count *= radix;
  }
  return true;
}

/// Includes the kept parts, so that a stand-in reveals nothing about a text with other kept parts.
u64 StandIn::hash_places(bool has_codes) const {
  std::string bytes;
  bytes.reserve(places_.size() * 5);
  for (const Place& place : places_) {
    bytes += static_cast<char>(place.kind);
    if (!has_codes && place.kind != Kind::fixed) continue;
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(place.code >> shift);
  }
  return hash_bytes(key_, bytes);
}

/// Steps from text to text until one is permitted: a permutation of the permitted texts.
void StandIn::permute(u64 count, const std::function<bool(Bytes)>& may_be_used) {
  const u64 key = hash_places(false);
  u64 number = 0;
  for (const Place& place : places_) number = number * count_of(place.kind) + index_of(place);
  const u32 attempts = may_be_used ? uses_max : attempts_max;
  for (u32 attempt = 0; attempt < attempts; ++attempt) {
    number = shuffled(key, number, count);
    u64 left = number;
    for (std::size_t i = places_.size(); i > 0; --i) {
      const u32 radix = count_of(places_[i - 1].kind);
      if (places_[i - 1].kind != Kind::fixed)
        codes_[i - 1] = code_at(places_[i - 1].kind, static_cast<u32>(left % radix));
      left /= radix;
    }
    if (std::all_of(parts_.begin(), parts_.end(),
                    [this](const Part& part) { return may_stand(part); }) &&
        (!may_be_used || may_be_used(written())))
      return;
  }
}

/// Signs become letters and digits too, so that word boundaries are hidden.
void StandIn::draw(u64 seed) {
  u32 word_attempts_left = 10000;  // strangers choose the texts
  for (const Part& part : parts_) {
    const bool is_word = part.writing == Writing::word;
    for (u32 attempt = 0; attempt < attempts_max; ++attempt) {
      draw(part, seed, attempt);
      if (may_stand(part) || (is_word && (part.written.size() > 64 || word_attempts_left == 0)))
        break;
      if (is_word) --word_attempts_left;
    }
  }
}

void StandIn::draw(const Part& part, u64 seed, u32 attempt) {
  for (std::size_t i = part.begin; i < part.end; ++i) {
    const Kind kind =
        is_narrowed(part.writing, places_[i].kind) ? Kind::alphanumeric : places_[i].kind;
    if (kind != Kind::fixed)
      codes_[i] = code_at(kind, static_cast<u32>(hash_numbers(seed, i, attempt) % count_of(kind)));
  }
}

/// Whether the part is equivalent to the original: another date, a word with the same error, no
/// name of the protocol.
bool StandIn::may_stand(const Part& part) const {
  switch (part.writing) {
    case Writing::fixed:
    case Writing::number:
      return true;
    case Writing::plain:
    case Writing::string: {
      if (part.end - part.begin > name_bytes_max) return true;
      std::string decoded;
      for (std::size_t i = part.begin; i < part.end; ++i)
        decoded += codes_[i] < 0x80 ? static_cast<char>(codes_[i]) : '?';
      return !is_member_name(decoded) && !is_meaning(decoded) && !is_forbidden_key(decoded) &&
             !is_method(decoded);
    }
    case Writing::date:
      return ion::is_date(written(part));
    case Writing::word: {
      const ion::Verdict verdict = ion::validate(written(part), ion::depth_ceiling);
      const ion::Verdict before = ion::validate(part.written, ion::depth_ceiling);
      return verdict.fault == before.fault && verdict.offset == before.offset &&
             ion::is_date(written(part)) == ion::is_date(part.written);
    }
  }
  trap();
}

std::string StandIn::written() const {
  std::string text;
  for (const Part& part : parts_) text += written(part);
  return text;
}

std::string StandIn::written(const Part& part) const {
  if (part.writing == Writing::fixed) return std::string(part.written);
  std::string text;
  std::size_t at = 0;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    const Place& place = places_[i];
    if (place.kind == Kind::fixed) {
      text += part.written.substr(at, place.size);
    } else {
      append_code(text, place, codes_[i]);
    }
    at += place.size;
  }
  return text;
}

}  // namespace sidekick::trace
