// What must survive a restart, as ION texts that a human can read: one record for each token, one
// for each client.
#pragma once

#include <span>

#include "tables/clients.hpp"

namespace sidekick {

/// { "channel": "chat", "params": {…}, "context": … }. State and expiry stand beside it, for they
/// change.
Bytes encode_token_record(TextArena& out, const Token& token);

/// What a line of a client's record tells.
enum class ClientChange : u8 { tokens, tokens_gone, resources, resources_gone };

/// A client's record is lines: the first tells all, { "tokens": ["…"], "resources": ["todo/1"] },
/// each further one, which begins with the newline that parts it from the one before, a change: {
/// "resources": ["todo/2"] } or { "resources_gone": ["todo/1"] }.
Bytes encode_client_change(TextArena& out, ClientChange change, std::span<const Bytes> names);
Bytes encode_client_record(TextArena& out, const Client& client, Tokens& tokens,
                           const Topics& topics);

struct TokenRecord {
  Scope scope;
  Bytes context;
};

struct ClientLine {
  std::vector<Bytes> names[4];  ///< by ClientChange

  const std::vector<Bytes>& operator[](ClientChange change) const {
    return names[static_cast<u8>(change)];
  }
};

/// False when the record is not one of ours (another version's, or damaged). Views are valid as
/// long as `record` and `scratch`.
bool decode_token_record(Bytes record, TextArena& scratch, TokenRecord& out);
bool decode_client_line(Bytes line, TextArena& scratch, ClientLine& out);

}  // namespace sidekick
