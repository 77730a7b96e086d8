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

/// Whether the error makes the connections useless: the server accepts no writes, or none of this
/// node. Any other error concerns one call only.
bool is_connection_useless(std::string_view error);

/// Why a server cannot be an engine, by its reply to INFO; nullopt: it can.
std::optional<EngineReason> wrong_with_server(std::string_view info);

/// Of two connections, if one server has calls and another one has messages.
EngineReason several_servers();

/// The name of the server's process, in the reply to INFO.
std::string server_of(std::string_view info);

/// An error reply without the words of the command, which the server repeats: AUTH has a password.
std::string_view without_words(std::string_view error);

/// The reason for the log, if an error reply has ended the connections.
EngineReason reason_of(std::string_view error, const EngineUrl& url);

/// The name of a node's connections, by which other nodes find them in CLIENT LIST.
std::string connection_name(std::string_view prefix, std::string_view node);

/// The prefixes of other Sidekicks on this server, with which this one shares nothing. clients: the
/// reply to CLIENT LIST.
std::set<std::string> other_sidekicks(std::string_view clients, const std::string& prefix);

}  // namespace sidekick::host
