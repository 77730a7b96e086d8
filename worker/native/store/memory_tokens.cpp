// Tokens in memory, lost when the process exits.
#include <unordered_set>

#include "store/tokens.hpp"

namespace sidekick::host {

namespace {

/// One allocation for key and record.
struct Row {
  mutable u32 state;
  mutable u64 expires_at;
  u32 key_bytes;
  std::string text;

  Bytes key() const { return Bytes(text).substr(0, key_bytes); }
  Bytes record() const { return Bytes(text).substr(key_bytes); }
};

struct HashKey {
  using is_transparent = void;
  std::size_t operator()(Bytes key) const {
    return std::hash<Bytes>()(key);
  }  // the hub limits them, and only the app server names them
  std::size_t operator()(const Row& row) const { return (*this)(row.key()); }
};

struct EqualKey {
  using is_transparent = void;
  bool operator()(const Row& a, const Row& b) const { return a.key() == b.key(); }
  bool operator()(Bytes a, const Row& b) const { return a == b.key(); }
};

class MemoryTokens final : public TokenStore {
 public:
  void put(const action::PutToken& token) override {
    erase(token.key);
    Row row{token.state, token.expires_at, static_cast<u32>(token.key.size()), {}};
    row.text.reserve(token.key.size() + token.record.size());
    row.text.append(token.key).append(token.record);
    rows_.insert(std::move(row));
  }
  void touch(const action::TouchToken& token) override {
    const auto found = rows_.find(token.key);
    if (found == rows_.end()) return;
    found->state = token.state;
    found->expires_at = token.expires_at;
  }
  void erase(const action::EraseToken& token) override { erase(token.key); }
  void clear() override { rows_.clear(); }
  std::string commit() override { return {}; }

  std::vector<StoredToken> all() override {
    std::vector<StoredToken> tokens;
    tokens.reserve(rows_.size());
    for (const Row& row : rows_)
      tokens.push_back(
          {row.state, row.expires_at, std::string(row.key()), std::string(row.record())});
    return tokens;
  }

 private:
  void erase(Bytes key) {
    const auto found = rows_.find(key);
    if (found != rows_.end()) rows_.erase(found);
  }

  std::unordered_set<Row, HashKey, EqualKey> rows_;
};

}  // namespace

std::unique_ptr<TokenStore> memory_tokens() { return std::make_unique<MemoryTokens>(); }

}  // namespace sidekick::host
