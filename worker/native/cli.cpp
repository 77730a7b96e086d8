// The command `sidekick-server`: reads flags, environment and files, starts the server, and reports
// usage errors.
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>

#include <openssl/rand.h>
#include <nlohmann/json.hpp>

#include "errors.hpp"
#include "http/server_url.hpp"
#include "output.hpp"
#include "runtime/runtime.hpp"
#include "runtime/wasmtime_runtime.hpp"
#include "server.hpp"
#include "sidekick/base.hpp"
#include "store/file.hpp"
#include "store/private_file.hpp"
#include "testing.hpp"

namespace sidekick::host {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds flush_time{1};

constexpr char help_text[] =
    R"(sidekick-server: WebSocket server for a Covenant app: channels and resource updates

Usage: sidekick-server --secret SECRET [options]

  -p, --port NUMBER         port to listen on; 0: any free port (SIDEKICK_PORT, default 3000)
      --host ADDRESS        address to listen on (SIDEKICK_HOST, default all)
  -s, --secret SECRET       Bearer token expected from the app server (SIDEKICK_SECRET, required);
                            repeat the flag to accept several during a rotation
      --metrics-secret TEXT Bearer token for GET /metrics alone; each secret is accepted there, too
                            (SIDEKICK_METRICS_SECRET)
      --auth-delay MS       delay before a 401 (SIDEKICK_AUTH_DELAY, default 3000)
      --idle-timeout SECONDS
                            close an HTTP connection after this idle time; must exceed that of a
                            proxy in front (SIDEKICK_IDLE_TIMEOUT, default 65)
      --server-url URL      the app server, e.g. http://localhost:3000/api/covenant, without user
                            and password (SIDEKICK_SERVER_URL); required for channels
      --server-secret TEXT  Bearer token sent to the app server (SIDEKICK_SERVER_SECRET)
      --allowed-origin URL  let only pages of this origin open a socket, e.g.
                            https://app.example.com or https://*.example.com; repeat the flag for
                            several (SIDEKICK_ALLOWED_ORIGINS, separated by commas; default all)
      --server-idle-timeout SECONDS
                            close a connection to the app server after this idle time; must be
                            shorter than the app server's own; 0: one connection per message
                            (SIDEKICK_SERVER_IDLE_TIMEOUT, default 4)
      --drain-seconds SECONDS
                            on shutdown, first refuse new sockets and close the open ones at a
                            steady rate over this time (SIDEKICK_DRAIN_SECONDS, default 0: all at
                            once)
      --config FILE         JSON file with limits, e.g. {"frame_bytes_max": 65536}; all of them:
                            docs/protocol.md. It may also hold the lists "secrets" and
                            "allowed_origins", used if neither the flag nor the variable is set
      --record FILE         append a trace of everything that goes in and out; the file
                            contains messages, contexts and tokens
      --inspect [HOST:]PORT serve a page with live traffic to developers on this machine, and print
                            its address (HOST: default 127.0.0.1); 0: any free port. The page shows
                            messages, contexts and tokens
      --log-level LEVEL     silent, error, warn, info, debug (SIDEKICK_LOG_LEVEL, default info)
      --log-format FORMAT   text, or json: one object per line (SIDEKICK_LOG_FORMAT, default text)
      --data DIR            keep tokens in this folder across restarts (SIDEKICK_DATA, default: in
                            memory); not with --engine
      --engine URL          a Redis server that several Sidekicks share, e.g. redis://host:6379/0 or
                            rediss://host with TLS (SIDEKICK_ENGINE, which may hold a password:
                            redis://user:password@host)
      --engine-ca FILE      trust the authorities in this PEM file for rediss://
                            (SIDEKICK_ENGINE_CA, default: those that this machine trusts)
      --engine-prefix TEXT  prefix of all keys and channels (SIDEKICK_ENGINE_PREFIX, default
                            sidekick)
      --reuse-port          let several processes with this flag listen on the same port; they need
                            the same --engine
      --tls-cert FILE       serve https and wss: PEM, the certificate followed by its intermediates
                            (SIDEKICK_TLS_CERT)
      --tls-key FILE        its private key (SIDEKICK_TLS_KEY)
      --runtime NAME        runtime of the core: wasmtime, a module in a sandbox (default), or
                            native, linked in (SIDEKICK_RUNTIME)
      --module FILE         the module for wasmtime (SIDEKICK_MODULE, default: the one built with
                            this command)
      --wasmtime-library FILE
                            wasmtime's C API (SIDEKICK_WASMTIME_LIBRARY, default:
                            lib/libwasmtime.so in WASMTIME_PREFIX if that is set, otherwise
                            libwasmtime.so beside this command or where it was built)
  -h, --help                this text
  -v, --version             the version

Precedence: flag, environment variable, config file.
A value that begins with a dash: --secret=-value.
On SIGTERM, SIGINT or SIGQUIT it drains, stops accepting, lets forwards in flight finish and closes
sockets with 1001. On a second signal it exits at once, after flushing an active recording.
)";

struct FlagName {
  std::string_view name;
  const char* variable;  // nullptr: none
  char letter = 0;
  bool takes_value = true;
};

constexpr FlagName flag_names[] = {
    {"port", "SIDEKICK_PORT", 'p'},
    {"host", "SIDEKICK_HOST"},
    {"secret", "SIDEKICK_SECRET", 's'},
    {"metrics-secret", "SIDEKICK_METRICS_SECRET"},
    {"auth-delay", "SIDEKICK_AUTH_DELAY"},
    {"idle-timeout", "SIDEKICK_IDLE_TIMEOUT"},
    {"server-url", "SIDEKICK_SERVER_URL"},
    {"server-secret", "SIDEKICK_SERVER_SECRET"},
    {"allowed-origin", "SIDEKICK_ALLOWED_ORIGINS"},
    {"server-idle-timeout", "SIDEKICK_SERVER_IDLE_TIMEOUT"},
    {"drain-seconds", "SIDEKICK_DRAIN_SECONDS"},
    {"config", nullptr},
    {"record", nullptr},
    {"inspect", nullptr},
    {"log-level", "SIDEKICK_LOG_LEVEL"},
    {"log-format", "SIDEKICK_LOG_FORMAT"},
    {"data", "SIDEKICK_DATA"},
    {"tls-cert", "SIDEKICK_TLS_CERT"},
    {"tls-key", "SIDEKICK_TLS_KEY"},
    {"runtime", "SIDEKICK_RUNTIME"},
    {"engine", "SIDEKICK_ENGINE"},
    {"engine-ca", "SIDEKICK_ENGINE_CA"},
    {"engine-prefix", "SIDEKICK_ENGINE_PREFIX"},
    {"reuse-port", nullptr, 0, false},
    {"module", "SIDEKICK_MODULE"},
    {"wasmtime-library", "SIDEKICK_WASMTIME_LIBRARY"},
    {"help", nullptr, 'h', false},
    {"version", nullptr, 'v', false},
};

/// Flags and variables.
class Settings {
 public:
  Settings(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
      std::string_view argument = arguments[i];
      std::optional<std::string_view> value;
      const bool is_long = argument.starts_with("--");
      if (!is_long && (argument.size() < 2 || argument[0] != '-'))
        throw UsageError("unexpected argument " + quote_text(argument));
      if (is_long && argument.find('=') != argument.npos) {
        value = argument.substr(argument.find('=') + 1);
        argument = argument.substr(0, argument.find('='));
      } else if (!is_long && argument.size() > 2) {
        value = argument.substr(2);
        argument = argument.substr(0, 2);
      }
      const FlagName& flag = find(argument);
      if (flag.takes_value && !value) {
        // Never the next option: `--secret --server-url` has forgotten the secret.
        value = ++i == count ? "" : arguments[i];
        if (i == count || (value->size() > 1 && value->starts_with('-')))
          throw UsageError("--" + std::string(flag.name) +
                           ": expected a value; one that begins with a dash is written --" +
                           std::string(flag.name) + "=VALUE");
      }
      if (!flag.takes_value && value)
        throw UsageError(std::string(argument) + ": expected no value, got " + quote_text(*value));
      flags_[flag.name].emplace_back(value.value_or(""));
    }
  }

  bool has(std::string_view name) const { return flags_.contains(name); }

  /// Every value given by flags.
  std::vector<std::string> all(std::string_view name) const {
    return has(name) ? flags_.at(name) : std::vector<std::string>{};
  }

  /// The last flag's value, else the variable's if it is not empty.
  std::optional<std::string> get(std::string_view name) const {
    if (has(name)) return flags_.at(name).back();
    return variable(name);
  }

  static std::optional<std::string> variable(std::string_view name) {
    const FlagName& flag = find("--" + std::string(name));
    const char* value = flag.variable == nullptr ? nullptr : std::getenv(flag.variable);
    return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
  }

 private:
  static const FlagName& find(std::string_view argument) {
    for (const FlagName& flag : flag_names) {
      if (argument.starts_with("--") ? argument.substr(2) == flag.name : argument[1] == flag.letter)
        return flag;
    }
    throw UsageError("unknown option " + quote_text(argument));
  }

  std::map<std::string_view, std::vector<std::string>> flags_;
};

unsigned integer(std::string_view name, const std::string& value, unsigned lowest,
                 unsigned highest) {
  const bool is_number =
      !value.empty() && value.size() <= 9 && value.find_first_not_of("0123456789") == value.npos;
  if (!is_number || std::stoul(value) < lowest || std::stoul(value) > highest) {
    throw UsageError(std::string(name) + ": expected a whole number from " +
                     std::to_string(lowest) + " to " + std::to_string(highest) + ", got " +
                     quote_text(value));
  }
  return static_cast<unsigned>(std::stoul(value));
}

/// An empty one usually comes from a variable that is not set: it must not mean all addresses.
std::optional<std::string> address(const Settings& settings) {
  const char* variable = std::getenv("SIDEKICK_HOST");
  const std::optional<std::string> host = settings.get("host");
  if (host ? host->empty() : variable != nullptr)
    throw UsageError("--host (SIDEKICK_HOST): expected an address, got \"\"");
  return host;
}

LogLevel log_level(const std::string& value) {
  for (std::size_t i = 0; i < std::size(log_level_names); ++i) {
    if (value == log_level_names[i]) return static_cast<LogLevel>(i);
  }
  throw UsageError("--log-level: expected one of silent, error, warn, info, debug, got " +
                   quote_text(value));
}

LogFormat log_format(const std::string& value) {
  if (value == "text") return LogFormat::text;
  if (value == "json") return LogFormat::json;
  throw UsageError("--log-format (SIDEKICK_LOG_FORMAT): expected text or json, got " +
                   quote_text(value));
}

/// As the core requires of the secrets that peers present.
bool is_header_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

/// The core says where the mistake is and shows one character. A JSON library would repeat some of
/// the text, which may hold secrets.
std::string why_no_json(const std::string& text, const CreateRuntime& create) {
  try {
    create(text);
  } catch (const ConfigError& mistake) {
    return mistake.what();
  }
  return "expected JSON, got ION";
}

/// Checked by itself, independently of flags and variables, so that the error names the file.
Json read_config(const std::string& path, const CreateRuntime& create, Log& log) {
  const auto wrong = [&](const std::string& reason) {
    return UsageError("--config " + path + ": " + reason);
  };
  const File file = read_file(path);
  if (file.error != 0) throw wrong(errno_text(file.error));
  std::string_view json = file.bytes;
  if (json.starts_with("\xef\xbb\xbf")) json.remove_prefix(3);
  Json config;
  try {
    config = Json::parse(json);
  } catch (const Json::exception&) {
    throw wrong(why_no_json(std::string(json), create));
  }
  if (!config.is_object())
    throw wrong("expected a JSON object with limits, for example {\"frame_bytes_max\": 65536}");
  for (const char* drawn : {"hash_seed", "node"}) {
    if (config.contains(drawn))
      throw wrong(quote_text(drawn) + " is random at each start and cannot be set; remove it");
  }
  if (config.contains("engine_shards"))
    throw wrong("\"engine_shards\" is set by --engine; remove it");
  if (config.contains("engine_epoch"))
    throw wrong("\"engine_epoch\" is for Cloudflare only; remove it");
  Json probe = config;
  if (probe.contains("secrets") || probe.contains("metrics_secret"))
    warn_if_public(file.status, "the secrets in the configuration", path, log);
  if (!probe.contains("secrets")) probe["secrets"] = {"none"};
  try {
    create(probe.dump());
  } catch (const ConfigError& mistake) {
    throw wrong(mistake.what());
  }
  return config;
}

/// 16 hex digits. Unpredictable: strangers choose resource names and must not be able to choose
/// collisions.
std::string random_digits() {
  unsigned char bytes[8];
  if (RAND_bytes(bytes, sizeof bytes) != 1) throw StartError("the system provides no random bytes");
  char text[17];
  for (int i = 0; i < 8; ++i) std::snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  return text;
}

void check_utf8(std::string_view name, const Json& value) {
  try {
    value.dump();
  } catch (const Json::exception&) {
    throw UsageError(std::string(name) + ": expected UTF-8");
  }
}

/// Of a list with commas; empty ones do not count.
std::vector<std::string> elements_of(std::string_view list) {
  std::vector<std::string> elements;
  while (!list.empty()) {
    std::string_view element = list.substr(0, list.find(','));
    list.remove_prefix(std::min(element.size() + 1, list.size()));
    const std::size_t first = element.find_first_not_of(" \t");
    if (first == element.npos) continue;
    element = element.substr(first, element.find_last_not_of(" \t") - first + 1);
    elements.emplace_back(element);
  }
  return elements;
}

Json settle_config(const Settings& settings, const CreateRuntime& create, Log& log) {
  const auto path = settings.get("config");
  Json config = path ? read_config(*path, create, log) : Json::object();
  if (settings.has("secret"))
    config["secrets"] = settings.all("secret");
  else if (const auto secret = Settings::variable("secret"))
    config["secrets"] = Json::array({*secret});
  const auto is_empty = [](const Json& secret) { return secret == ""; };
  if (!config.contains("secrets") ||
      std::any_of(config["secrets"].begin(), config["secrets"].end(), is_empty)) {
    throw UsageError("a secret is required: set --secret or SIDEKICK_SECRET");
  }
  check_utf8("--secret (SIDEKICK_SECRET)", config["secrets"]);
  if (const auto secret = settings.get("metrics-secret")) config["metrics_secret"] = *secret;
  if (config.contains("metrics_secret"))
    check_utf8("--metrics-secret (SIDEKICK_METRICS_SECRET)", config["metrics_secret"]);
  if (settings.has("allowed-origin"))
    config["allowed_origins"] = settings.all("allowed-origin");
  else if (const auto origins = Settings::variable("allowed-origin"))
    config["allowed_origins"] = elements_of(*origins);
  if (config.contains("allowed_origins"))
    check_utf8("--allowed-origin (SIDEKICK_ALLOWED_ORIGINS)", config["allowed_origins"]);
  if (const auto delay = settings.get("auth-delay"))
    config["auth_failure_delay_ms"] =
        integer("--auth-delay (SIDEKICK_AUTH_DELAY)", *delay, 0, 60000);
  return config;
}

std::string shown_host(const std::optional<std::string>& host) {
  if (!host || *host == "0.0.0.0" || *host == "::") return "localhost";
  return host->find(':') == host->npos ? *host : "[" + *host + "]";
}

enum class RuntimeName { wasmtime, native };

std::optional<RuntimeName> find_runtime(std::string_view name) {
  if (name == "wasmtime") return RuntimeName::wasmtime;
  if (name == "native") return RuntimeName::native;
  return std::nullopt;
}

RuntimeName choose_runtime(const Settings& settings) {
  RuntimeName chosen = RuntimeName::wasmtime;
  // Both are validated, even the one that does not decide.
  for (const auto& name : {Settings::variable("runtime"), settings.get("runtime")}) {
    if (!name) continue;
    const auto runtime = find_runtime(*name);
    if (!runtime)
      throw UsageError("--runtime (SIDEKICK_RUNTIME): expected wasmtime or native, got " +
                       quote_text(*name));
    chosen = *runtime;
  }
  return chosen;
}

constexpr std::size_t engine_prefix_max = 64;

/// Patterns of Redis (ACL, KEYS) leave these characters alone.
bool is_engine_prefix(std::string_view text) {
  return !text.empty() && text.size() <= engine_prefix_max &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == ':' || c == '-';
         });
}

EngineUrl find_engine_url(const Settings& settings, const std::string& value) {
  const bool is_flag = settings.has("engine");
  const std::string name = is_flag ? "--engine" : "SIDEKICK_ENGINE";
  if (find_runtime(value)) {
    throw UsageError(name + ": expected the URL of a Redis server, got " + quote_text(value) +
                     "; use " + (is_flag ? "--runtime" : "SIDEKICK_RUNTIME") +
                     " to choose the runtime");
  }
  EngineUrl url = parse_engine_url(name, value);
  if (is_flag && !url.password.empty())
    throw UsageError(
        "--engine: a password here can be read by every user of this machine; set the variable "
        "SIDEKICK_ENGINE instead");
  return url;
}

std::optional<EngineOptions> find_engine(const Settings& settings) {
  const auto value = settings.get("engine");
  if (!value) {
    for (const char* flag : {"engine-ca", "engine-prefix"}) {
      if (settings.has(flag)) throw UsageError("--" + std::string(flag) + " requires --engine");
    }
    if (settings.has("reuse-port"))
      throw UsageError(
          "--reuse-port requires --engine: otherwise the processes do not know of each other's "
          "clients");
    return std::nullopt;
  }
  if (settings.get("data"))
    throw UsageError("--data cannot be combined with --engine, which keeps the tokens");
  EngineOptions engine{find_engine_url(settings, *value), settings.get("engine-ca"),
                       settings.get("engine-prefix").value_or("sidekick"), random_digits()};
  if (!is_engine_prefix(engine.prefix))
    throw UsageError("--engine-prefix (SIDEKICK_ENGINE_PREFIX): expected 1 to " +
                     std::to_string(engine_prefix_max) +
                     " letters, digits or any of . _ : -, got " + quote_text(engine.prefix));
  if (settings.has("engine-ca") && !engine.url.is_tls)
    throw UsageError("--engine-ca requires an engine with rediss://");
  return engine;
}

/// For a Service named "sidekick", Kubernetes sets SIDEKICK_PORT in every container by itself.
std::optional<std::string> find_port(const Settings& settings, Log& log) {
  const auto port = settings.get("port");
  if (settings.has("port") || !port || !port->starts_with("tcp://")) return port;
  log.warn(
      "ignored SIDEKICK_PORT: Kubernetes sets it for a Service of this name (enableServiceLinks: "
      "false turns that off); choose a port with --port",
      {{"value", *port}});
  return std::nullopt;
}

void run(const Settings& settings) {
  ServerOptions options;
  Log log(log_level(settings.get("log-level").value_or("info")),
          log_format(settings.get("log-format").value_or("text")));
  options.port = static_cast<unsigned short>(
      integer("--port (SIDEKICK_PORT)", find_port(settings, log).value_or("3000"), 0, 65535));
  options.idle_time =
      std::chrono::seconds(integer("--idle-timeout (SIDEKICK_IDLE_TIMEOUT)",
                                   settings.get("idle-timeout").value_or("65"), 1, 3600));
  options.host = address(settings);
  options.server_url = settings.get("server-url");
  options.server_secret = settings.get("server-secret").value_or("");
  if (!is_header_text(options.server_secret))
    throw UsageError(
        "server secret: expected printable ASCII without spaces, which every HTTP library sends "
        "alike");
  options.server_idle_time =
      std::chrono::seconds(integer("--server-idle-timeout (SIDEKICK_SERVER_IDLE_TIMEOUT)",
                                   settings.get("server-idle-timeout").value_or("4"), 0, 3600));
  options.drain_time =
      std::chrono::seconds(integer("--drain-seconds (SIDEKICK_DRAIN_SECONDS)",
                                   settings.get("drain-seconds").value_or("0"), 0, 3600));
  options.record_file = settings.get("record");
  const WasmtimeOptions wasmtime{settings.get("wasmtime-library"), settings.get("module")};
  if (const auto address = settings.get("inspect"))
    options.inspect = {parse_inspect_address(*address), read_file(find_module(wasmtime)).bytes};
  options.data_directory = settings.get("data");
  options.tls_cert_file = settings.get("tls-cert");
  options.tls_key_file = settings.get("tls-key");
  if (options.tls_cert_file.has_value() != options.tls_key_file.has_value())
    throw UsageError("--tls-cert and --tls-key: expected both, got one");
  options.engine = find_engine(settings);
  options.reuse_port = settings.has("reuse-port");
  const bool is_native = choose_runtime(settings) == RuntimeName::native;
  const CreateRuntime create =
      for_testing(is_native ? native_runtime() : wasmtime_runtime(wasmtime, log));
  Json settled = settle_config(settings, create, log);
  if (options.engine) {
    settled["engine_shards"] = 1;
    settled["node"] = options.engine->node;
  }
  options.create_runtime = [create, config = std::move(settled)]() mutable {
    config["hash_seed"] = random_digits();
    return create(config.dump());
  };
  options.ping_seconds = ping_seconds_for_testing(options.ping_seconds);
  options.server_links_max = server_links_max_for_testing(options.server_links_max);
  options.accepted = accepted_for_testing();
  if (options.server_url && options.server_secret.empty()) {
    log.warn(
        "--server-url without --server-secret: the app server cannot verify that messages are from "
        "this Sidekick; set --server-secret");
  }
  Output out(STDOUT_FILENO);
  serve(options, log, [&](const Started& server) {
    const std::string s = options.tls_cert_file ? "s" : "";
    const std::string name = shown_host(options.host) + ":" + std::to_string(server.port);
    std::ostringstream text;
    text << "Sidekick listening on http" << s << "://" << name << "\nWebSocket endpoint: ws" << s
         << "://" << name << "/socket\n";
    if (options.server_url)
      text << "Forwarding messages to " << parse_server_url(*options.server_url).shown << "\n";
    if (options.record_file) text << "Recording to " << *options.record_file << "\n";
    if (server.inspector_url) text << "Inspector: " << *server.inspector_url << "\n";
    if (options.engine)
      text << "Sharing topics and tokens through " << options.engine->url.shown << "\n";
    if (options.data_directory) text << "Storing tokens in " << *options.data_directory << "\n";
    text << "Press Ctrl+C to stop\n";
    log.flush();  // warnings come first
    out.write(text.str());
  });
  out.flush(flush_time);
}

/// Otherwise a socket could get the number of a stream that is closed, and our lines with it.
void open_standard_streams() {
  int file = ::open("/dev/null", O_RDWR);
  while (file >= 0 && file <= STDERR_FILENO) file = ::open("/dev/null", O_RDWR);
  if (file >= 0) ::close(file);
}

}  // namespace

int run_command(int count, char** arguments) {
  open_standard_streams();
  try {
    const Settings settings(count, arguments);
    if (settings.has("help")) {
      std::cout << help_text;
    } else if (settings.has("version")) {
      std::cout << core_version << "\n";
    } else {
      run(settings);
    }
    return 0;
  } catch (const UsageError& error) {
    std::cerr << "sidekick-server: " << error.what() << "\nTry sidekick-server --help\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "sidekick-server: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace sidekick::host

int main(int count, char** arguments) { return sidekick::host::run_command(count, arguments); }
