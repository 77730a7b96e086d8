// Tokens that end with the process.
#include <unordered_map>

#include "tokens.hpp"

namespace sidekick::host {

namespace {

class MemoryTokens final : public TokenStore {
 public:
  void put(const action::PutToken& token) override { tokens_[std::string(token.key)] = {token.state, token.expires_at, std::string(token.record)}; }
  void touch(const action::TouchToken& token) override {
    const auto found = tokens_.find(std::string(token.key));
    if (found == tokens_.end()) return;
    found->second.state = token.state;
    found->second.expires_at = token.expires_at;
  }
  void erase(const action::EraseToken& token) override { tokens_.erase(std::string(token.key)); }
  void clear() override { tokens_.clear(); }
  std::string commit() override { return {}; }

  std::vector<StoredToken> all() override {
    std::vector<StoredToken> tokens;
    tokens.reserve(tokens_.size());
    for (const auto& [key, row] : tokens_) tokens.push_back({row.state, row.expires_at, key, row.record});
    return tokens;
  }

 private:
  struct Row {
    u32 state;
    u64 expires_at;
    std::string record;
  };
  std::unordered_map<std::string, Row> tokens_;  // std::hash: the hub bounds them, and only the app server names them
};

}  // namespace

std::unique_ptr<TokenStore> memory_tokens() { return std::make_unique<MemoryTokens>(); }

}  // namespace sidekick::host
