// The hub's token records, kept for a hub that must be made anew: after a trap, and with a folder
// also after a restart of the process. Writes of one turn become durable together, before anything
// that depends on them leaves. Knows nothing of what a record says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick::host {

struct StoredToken {
  u32 state;
  u64 expires_at;
  std::string key;
  std::string record;
};

class TokenStore {
 public:
  virtual ~TokenStore() = default;

  virtual void put(const action::PutToken& token) = 0;
  /// Returns false where there is no such token.
  virtual bool touch(const action::TouchToken& token) = 0;
  virtual void erase(const action::EraseToken& token) = 0;
  virtual void clear() = 0;

  /// Makes what has been written since the last time durable. Returns why it could not be: then
  /// none of it is.
  virtual std::string commit() = 0;

  virtual std::vector<StoredToken> all() = 0;
};

std::unique_ptr<TokenStore> memory_tokens();

/// In DIR/tokens.sqlite, for as long as this lives alone. Survives the end of the process, however
/// that comes; the machine's may cost the last moments. Throws StartError where the folder cannot
/// be used.
std::unique_ptr<TokenStore> sqlite_tokens(const std::string& directory);

}  // namespace sidekick::host
