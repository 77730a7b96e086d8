// The server: sockets and HTTP around a Host. Owns listening, accepting and shutting down.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/signal_set.hpp>

#include "engine/engine_url.hpp"
#include "inspect/inspect_address.hpp"
#include "log.hpp"
#include "runtime/runtime.hpp"

namespace sidekick::host {

/// The engine that several Sidekicks share.
struct EngineOptions {
  EngineUrl url;
  std::optional<std::string> ca_file;
  std::string prefix;  ///< of the names of keys and channels
  std::string node;    ///< as the hub's configuration has it
};

struct InspectOptions {
  InspectAddress address;
  std::string module;  ///< the bytes that the page replays with; empty: it replays nothing
};

struct ServerOptions {
  unsigned short port = 3000;  ///< 0 chooses any free port
  std::optional<std::string> host;
  /// Other processes listen on the same port.
  bool reuse_port = false;
  std::optional<EngineOptions> engine;
  /// Creates a hub with these secrets and limits.
  std::function<std::unique_ptr<Runtime>()> create_runtime;
  std::optional<std::string> server_url;
  std::string server_secret;
  /// For how long an idle connection to the app server is kept at most.
  std::chrono::milliseconds server_idle_time{4000};
  /// Maximum number of connections to the app server.
  unsigned server_links_max = 4096;
  std::optional<std::string> record_file;
  std::optional<InspectOptions> inspect;
  std::optional<std::string> data_directory;
  std::optional<std::string> tls_cert_file;
  std::optional<std::string> tls_key_file;
  unsigned ping_seconds = 30;
  std::chrono::seconds idle_time{65};  ///< of an HTTP connection between two requests
  std::chrono::seconds drain_time{0};  ///< at a stop: sockets close at a steady rate for so long
  /// Called with each connection before it is set up: a test may make it throw.
  std::function<void()> accepted = [] {};
};

struct Started {
  unsigned short port;
  std::optional<std::string> inspector_url;
};

/// Serves until a signal (SIGTERM, SIGINT, SIGQUIT) stops it. It may then exit the process itself
/// rather than wait for a name lookup. `started` is called as soon as connections are accepted.
/// Throws UsageError or StartError if it cannot start.
void serve(const ServerOptions& options, Log& log,
           const std::function<void(const Started&)>& started);

}  // namespace sidekick::host
