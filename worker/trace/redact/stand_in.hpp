// Stand-ins for private text. Each belongs to a whole text: other texts of the same length and
// kinds of characters have unrelated stand-ins, so there is no table of letters to guess. For one
// key, the same text always has the same stand-in. Two short texts never share one (a permutation,
// which needs no memory), others almost never.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "redact/characters.hpp"

namespace sidekick::trace {

class StandIn {
 public:
  explicit StandIn(Bytes key);

  /// Parts of one text, in their order. Their stand-ins depend on all of them.
  void add(Bytes written, Writing writing);
  /// Returns the text with stand-ins, and forgets it. The stand-in is one that may_be_used accepts,
  /// if there is one.
  std::string finish(const std::function<bool(Bytes)>& may_be_used = {});

 private:
  struct Part {
    Bytes written;
    Writing writing;
    std::size_t begin = 0;  // its places
    std::size_t end = 0;
  };

  u64 hash_places(bool has_codes) const;
  bool count_texts(u64& count) const;
  void permute(u64 count, const std::function<bool(Bytes)>& may_be_used);
  void draw(u64 seed);
  void draw(const Part& part, u64 seed, u32 attempt);
  bool may_stand(const Part& part) const;
  std::string written(const Part& part) const;
  std::string written() const;

  u64 key_;
  std::vector<Part> parts_;
  std::vector<Place> places_;
  std::vector<u32> codes_;  // the replacements in those places
};

/// Names with a meaning to the hub or to ION readers: no stand-in is one of them.
bool is_member_name(Bytes text);
bool is_meaning(Bytes text);
bool is_forbidden_key(Bytes text);
bool is_method(Bytes text);

}  // namespace sidekick::trace
