// Why a Redis server cannot be used, in words that an operator can act on. Texts of Redis may name
// the user, which no log shows.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "engine/engine_url.hpp"

namespace sidekick::host {

struct EngineReason {
  std::string_view code;  ///< the same for the same cause
  std::string text;
};

/// An error of a server that does not accept writes, or not ours: the connections are useless.
/// Other errors concern one call.
bool is_connection_useless(std::string_view error);

/// What is wrong with a server, by its reply to INFO.
std::optional<EngineReason> wrong_with_server(std::string_view info);

/// An error reply without the words of the command, which the server repeats: AUTH has a password.
std::string_view without_words(std::string_view error);

/// What an error reply says about connections to this server.
EngineReason reason_of(std::string_view error, const EngineUrl& url);

/// By this name a node finds the connections of other nodes on a server.
std::string connection_name(std::string_view prefix, std::string_view node);

/// What the keys of Sidekicks begin with that this one does not meet. clients: the reply to CLIENT
/// LIST.
std::set<std::string> other_sidekicks(std::string_view clients, const std::string& prefix);

}  // namespace sidekick::host
