// The hub's token records, kept for a hub that replaces another: after a trap, and with a folder
// also after a restart of the process. Writes of one turn become durable together, before anything
// that depends on them is sent. Does not interpret records.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "log.hpp"
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
  virtual void touch(const action::TouchToken& token) = 0;
  virtual void erase(const action::EraseToken& token) = 0;
  virtual void clear() = 0;

  /// Makes all writes since the last call durable. Returns why that failed; then none of them is.
  virtual std::string commit() = 0;

  virtual std::vector<StoredToken> all() = 0;
};

std::unique_ptr<TokenStore> memory_tokens();

/// In DIR/tokens.sqlite, which this object uses exclusively. Survives any end of the process; a
/// crash of the machine may lose the last moments. Throws StartError if the folder cannot be used.
std::unique_ptr<TokenStore> sqlite_tokens(const std::string& directory, Log& log);

}  // namespace sidekick::host
