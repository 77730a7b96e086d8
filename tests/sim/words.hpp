// The names of one world: tokens, channels with their params, resources; the spelling and length of
// each; and the error for each flaw. Built once per world from its swarm, constant from then on.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "swarm.hpp"

namespace sidekick::sim {

struct Word {
  std::string bytes;    ///< decoded
  std::string literal;  ///< as ION.stringify writes it, with its quotes
  std::string alias;    ///< the same string in another spelling
};

Word make_word(std::string bytes);

/// A channel and its params, with one text for each order of the params.
struct ScopeWords {
  Word channel;
  std::vector<std::pair<Word, Word>> params;
  std::vector<std::string> params_text;  ///< { "a": "1", "b": "2" }
  std::vector<std::string>
      params_complaint[2];  ///< by config: the error about the params (see `matches`); empty: none
  u32 topic_bytes = 0;

  u32 order_of(u32 order) const { return order % static_cast<u32>(params_text.size()); }
};

/// Where a flaw is checked, in this order: docs/protocol.md, "Errors".
enum class Stage : u8 {
  none,
  syntax,
  object,
  twice,
  id,
  type,
  token,
  channel,
  params,
  resources,
  extension
};

struct FlawFacts {
  Stage stage;
  const char* complaint;  ///< the error: see `matches`
};

extern const FlawFacts flaw_facts[static_cast<u32>(Flaw::count)];

class Words {
 public:
  explicit Words(const Swarm& swarm);

  std::vector<Word> tokens;
  std::vector<Word> resources;
  std::vector<ScopeWords> scopes;
  std::vector<std::string> sessions;

  /// The index of the token or resource with these bytes or this literal; `tokens.size()` or
  /// `resources.size()` if there is none.
  u32 find_token(Bytes bytes) const { return find(token_index_, bytes, tokens.size()); }
  u32 find_token_literal(Bytes literal) const {
    return find(token_literal_index_, literal, tokens.size());
  }
  u32 find_resource_literal(Bytes literal) const {
    return find(resource_literal_index_, literal, resources.size());
  }

 private:
  using Index = std::unordered_map<std::string_view, u32>;  // looked up, never iterated
  static u32 find(const Index& index, Bytes key, std::size_t otherwise) {
    const auto at = index.find(key);
    return at == index.end() ? static_cast<u32>(otherwise) : at->second;
  }

  Index token_index_, token_literal_index_, resource_literal_index_;
};

/// `"token" has 41 bytes; the limit is 40 (token_bytes_max)`
std::string too_long(Bytes what, u64 bytes, u32 most, Bytes limit);
std::string too_many_params(const Config& config);

/// Appends `data` or `context` as a peer writes it. Appends nothing for Shape::absent.
void append_payload(std::string& out, const Payload& payload);

}  // namespace sidekick::sim
