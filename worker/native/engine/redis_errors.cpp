#include "engine/redis_errors.hpp"

#include <algorithm>
#include <charconv>

namespace sidekick::host {

namespace {

constexpr unsigned version_min = 7;

constexpr char password_missing[] =
    "the server requires a password; add it to the engine's URL (SIDEKICK_ENGINE)";

constexpr char password_unexpected[] =
    "the server has no password; remove it from the engine's URL (SIDEKICK_ENGINE)";

/// Does not say which command, key or channel.
constexpr std::string_view forbidden_in_script = "The user executing the script can't ";

constexpr std::string_view useless[] = {"READONLY", "LOADING",  "MASTERDOWN", "NOREPLICAS",
                                        "MISCONF",  "NOSCRIPT", "NOPERM"};

constexpr std::string_view name_start = "sidekick-node:";
constexpr std::size_t node_digits = 16;

/// Errors begin with a word in capitals.
std::string_view first_word(std::string_view error) { return error.substr(0, error.find(' ')); }

/// A line of INFO.
std::string info_value(std::string_view info, const std::string& name) {
  const std::string start = "\n" + name + ":";
  const std::size_t found = info.find(start);
  if (found == std::string_view::npos) return {};
  info.remove_prefix(found + start.size());
  return std::string(info.substr(0, info.find_first_of("\r\n")));
}

}  // namespace

bool is_connection_useless(std::string_view error) {
  return std::ranges::find(useless, first_word(error)) != std::end(useless);
}

std::optional<EngineReason> wrong_with_server(std::string_view info) {
  const auto value = [&](const char* name) { return info_value(info, name); };
  const std::string version = value("redis_version");
  unsigned major = 0;
  std::from_chars(version.data(), version.data() + version.size(), major);
  if (major < version_min)
    return EngineReason{
        "version", "expected Redis " + std::to_string(version_min) + " or Valkey, got " + version};
  if (value("redis_mode") == "cluster")
    return EngineReason{"cluster", "expected a single primary, got a node of Redis Cluster"};
  if (value("redis_mode") == "sentinel")
    return EngineReason{"sentinel",
                        "expected a primary, got a Sentinel; use the primary's address"};
  if (value("role") == "slave")
    return EngineReason{"replica", "expected a primary, got a replica of " + value("master_host") +
                                       ":" + value("master_port") +
                                       "; use the address of the primary"};
  const std::string policy = value("maxmemory_policy");
  if (value("maxmemory") != "0" && !policy.empty() && policy != "noeviction")
    return EngineReason{"eviction", "expected maxmemory-policy noeviction, got " + policy +
                                        ": it would drop tokens"};
  return std::nullopt;
}

EngineReason several_servers() {
  return {"servers",
          "the address leads to several servers; use one that leads to the primary only"};
}

std::string server_of(std::string_view info) { return info_value(info, "run_id"); }

std::string_view without_words(std::string_view error) {
  return error.substr(0, error.find(", with args beginning with"));
}

EngineReason reason_of(std::string_view error, const EngineUrl& url) {
  const std::string_view word = first_word(error);
  if (error.starts_with("ERR AUTH ") || error.starts_with("ERR Client sent AUTH"))
    return {"password", password_unexpected};
  if (word == "WRONGPASS" || word == "NOAUTH")
    return {"password", url.password.empty() ? password_missing : "wrong user or password"};
  constexpr std::string_view permission = "permissions to ";
  const std::size_t forbidden = error.find(permission);
  if (word == "NOPERM" && forbidden != std::string_view::npos)
    return {"acl", "NOPERM: the ACL of the user forbids it to " +
                       std::string(error.substr(forbidden + permission.size()))};
  if (error.find(forbidden_in_script) != std::string_view::npos)
    return {"acl", "the ACL of the user forbids what a script does: " + std::string(error)};
  return {"error", std::string(error)};
}

std::string connection_name(std::string_view prefix, std::string_view node) {
  return std::string(name_start).append(prefix).append(node);
}

std::set<std::string> other_sidekicks(std::string_view clients, const std::string& prefix) {
  const std::string field = " name=" + std::string(name_start);
  std::set<std::string> all;
  for (std::size_t found; (found = clients.find(field)) != std::string_view::npos;) {
    clients.remove_prefix(found + field.size());
    const std::string_view name = clients.substr(0, clients.find(' '));
    if (name.size() > node_digits) all.emplace(name.substr(0, name.size() - node_digits));
  }
  all.erase(prefix);
  return all;
}

}  // namespace sidekick::host
