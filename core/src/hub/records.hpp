// The state that survives a restart, as readable ION texts: one record for each token, one for each
// client.
#pragma once

#include <span>

#include "hub/stamps.hpp"
#include "tables/clients.hpp"

namespace sidekick {

/// { "channel": "chat", "params": {…}, "context": …, "registered_at": 1700000000500000 }. State and
/// expiry are stored beside it, since they change. registered_at: 0 is left out.
Bytes encode_token_record(TextArena& out, const Token& token, u64 registered_at = 0);

/// The contents of one line of a client's record.
enum class ClientChange : u8 { tokens, tokens_gone, resources, resources_gone };

/// A client's record is a list of lines. The first is the full state, { "tokens": ["…"],
/// "resources": ["todo/1"] }; "session" and "epoch" come first if the client has said hello. Each
/// further line starts with a newline and is a change: { "resources": ["todo/2"] } or {
/// "resources_gone": ["todo/1"] }.
Bytes encode_client_change(TextArena& out, ClientChange change, std::span<const Bytes> names);
Bytes encode_client_record(TextArena& out, const Client& client, Tokens& tokens,
                           const Topics& topics, const Epoch& epoch);

struct TokenRecord {
  Scope scope;
  Bytes context;
  u64 registered_at = 0;  ///< 0: not in this record
};

struct ClientLine {
  std::vector<Bytes> names[4];  ///< indexed by ClientChange
  Bytes session;                ///< empty: not in this line
  Bytes epoch;                  ///< the same

  const std::vector<Bytes>& operator[](ClientChange change) const {
    return names[static_cast<u8>(change)];
  }
};

/// Returns false if the record is damaged or of another version. Views are valid as long as
/// `record` and `scratch`.
bool decode_token_record(Bytes record, TextArena& scratch, TokenRecord& out);
bool decode_client_line(Bytes line, TextArena& scratch, ClientLine& out);

}  // namespace sidekick
