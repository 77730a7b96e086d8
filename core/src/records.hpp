// What must survive a restart, as ION texts that a human can read: one record for each token, one for each client.
#pragma once

#include "clients.hpp"

namespace sidekick {

/// { "channel": "chat", "params": {…}, "state": "free", "expires_at": 1700000000000, "context": … }; `expires_at` only while free.
Bytes encode_token_record(TextArena& out, const Token& token);

/// { "tokens": ["…"], "resources": ["todo/1"] }
Bytes encode_client_record(TextArena& out, const Client& client, Tokens& tokens, const Topics& topics);

struct TokenRecord {
  Scope scope;
  Bytes context;
  TokenState state = TokenState::free;
  Millis expires_at = 0;
};

struct ClientRecord {
  std::vector<Bytes> tokens;
  std::vector<Bytes> resources;
};

/// False when the record is not one of ours (another version's, or damaged). Views are valid as long as `record` and `scratch`.
bool decode_token_record(Bytes record, TextArena& scratch, TokenRecord& out);
bool decode_client_record(Bytes record, TextArena& scratch, ClientRecord& out);

}  // namespace sidekick
