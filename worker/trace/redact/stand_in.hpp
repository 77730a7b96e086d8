// Stand-ins for what must not be told. Each belongs to a whole text: other texts of the same length
// and kinds of characters have unrelated ones, so there is no table of letters that could be
// guessed. For one key the same text always has the same stand-in. Of short texts no two have the
// same (a permutation, which needs no memory), of others nearly never.
#pragma once

#include <string>
#include <vector>

#include "redact/characters.hpp"

namespace sidekick::trace {

class StandIn {
 public:
  explicit StandIn(Bytes key);

  /// Parts of one text, in their order. What they show depends on all of them.
  void add(Bytes written, Writing writing);
  /// The text with stand-ins, and forgets it.
  std::string finish();

 private:
  struct Part {
    Bytes written;
    Writing writing;
    std::size_t begin = 0;  // its places
    std::size_t end = 0;
  };

  u64 hash_places(bool has_codes) const;
  bool count_texts(u64& count) const;
  void permute(u64 count);
  void draw();
  void draw(const Part& part, u64 seed, u32 attempt);
  bool may_stand(const Part& part) const;
  std::string written(const Part& part) const;

  u64 key_;
  std::vector<Part> parts_;
  std::vector<Place> places_;
  std::vector<u32> codes_;  // what stands in the places instead
};

/// Names that have a meaning to the hub, or to those that read ION: no stand-in is one of them.
bool is_member_name(Bytes text);
bool is_meaning(Bytes text);
bool is_forbidden_key(Bytes text);
bool is_method(Bytes text);

}  // namespace sidekick::trace
