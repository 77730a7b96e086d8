#include "server.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <list>

#include "errors.hpp"
#include "host.hpp"
#include "inspect/inspection.hpp"
#include "inspect/inspector_page.hpp"
#include "net/acceptor.hpp"
#include "net/tls.hpp"

namespace sidekick::host {

namespace {

using Milliseconds = std::chrono::milliseconds;

// for the rush of reconnecting clients after a restart
constexpr int connections_waiting_max = 4096;
constexpr unsigned accepted_per_turn_max = 64;
constexpr int tcp_keep_alive_seconds = 60;
constexpr Milliseconds accept_retry{100};
/// In total less than the 10 s after which container runtimes kill a process.
constexpr Milliseconds shutdown_forwards{7'000};
constexpr Milliseconds shutdown_sockets{1'000};
constexpr Milliseconds shutdown_engine{500};
constexpr Milliseconds shutdown_step{10};
/// Maximum number of connections that are not WebSockets. Beyond that, some are closed before new
/// ones are accepted.
constexpr std::size_t sessions_max = 4096;
/// Maximum number of accepts per turn: choosing the connections to close looks at all of them.
constexpr std::size_t ended_for_room = accepted_per_turn_max;
/// For the module, logs and the database.
constexpr rlim_t other_files = 64;

/// Each socket is an open file, and the system limits them. A server that runs out cannot accept
/// connections, so the limit is checked at start.
void raise_open_files(Log& log, u32 clients_max, unsigned links_max) {
  const rlim_t wanted = clients_max + sessions_max + links_max + other_files;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  getrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur >= wanted) return;
  log.warn("the open file limit is too low for clients_max: raise it (ulimit -n " +
               std::to_string(clients_max + other_files) + ", better " + std::to_string(wanted) +
               ", or LimitNOFILE=), or lower clients_max",
           {{"open_files", files.rlim_cur}, {"clients_max", clients_max}});
}

/// The table of docs/operating.md, as far as it is about handlers. The Node host has the same.
constexpr struct {
  int number;
  const char* name;
  bool stops;  ///< otherwise it is logged
} signal_rules[] = {
    {SIGTERM, "SIGTERM", true}, {SIGINT, "SIGINT", true},    {SIGQUIT, "SIGQUIT", true},
    {SIGHUP, "SIGHUP", false},  {SIGUSR1, "SIGUSR1", false}, {SIGUSR2, "SIGUSR2", false},
};

/// A write to a closed pipe, or beyond the limit of a file's size (ulimit -f), fails like a write
/// to a full disk: no reason to exit.
constexpr int ignored_signals[] = {SIGPIPE, SIGXFSZ};

/// Number of further stop signals after which the process ends even though the disk hangs.
volatile std::sig_atomic_t stops_left = 0;

/// Of keys and channels in the engine. Nodes of two layouts do not see each other.
constexpr int layout = 1;

std::optional<RedisOptions> redis_options(const std::optional<EngineOptions>& engine,
                                          const Limits& limits) {
  if (!engine) return std::nullopt;
  return RedisOptions{engine->url,
                      engine->ca_file,
                      engine->prefix + ":" + std::to_string(layout) + ":" +
                          std::to_string(engine->url.database) + ":",
                      engine->node,
                      Milliseconds(limits.engine_timeout_ms),
                      limits.engine_lease_ms,
                      limits.engine_message_bytes_max};
}

/// An address that connections are accepted on. A name may have several.
struct Listener {
  explicit Listener(asio::io_context& context)
      : acceptor(context.get_executor()), retry(context.get_executor()) {}

  Acceptor acceptor;
  Loop::Timer retry;
};

class Server {
 public:
  Server(const ServerOptions& options, Log& log)
      : log_(log),
        accepted_(options.accepted),
        reuse_port_(options.reuse_port),
        drain_time_(options.drain_time),
        http_rules_{log, options.idle_time},
        signals_(loop_.context()),
        wait_(loop_.context().get_executor()) {
    for (const auto& rule : signal_rules) signals_.add(rule.number);
    auto runtime = options.create_runtime();
    const Limits limits = runtime->limits();
    raise_open_files(log, limits.clients_max, options.server_url ? options.server_links_max : 0);
    if (options.server_url)
      forwarder_.emplace(loop_,
                         ForwarderOptions{*options.server_url, options.server_secret,
                                          limits.forward_answer_bytes_max, options.server_idle_time,
                                          options.server_links_max},
                         log);
    if (options.tls_cert_file)
      tls_ = server_tls(*options.tls_cert_file, *options.tls_key_file, log);
    if (options.record_file) recorder_.emplace(*options.record_file, log);
    listen(options);
    if (options.inspect)
      inspection_.emplace(loop_, options.inspect->address, live_page(options.inspect->module), log);
    tokens_ =
        options.data_directory ? sqlite_tokens(*options.data_directory, log) : memory_tokens();
    loop_.output_bytes_max = limits.unsent_bytes_max;
    host_.emplace(
        loop_, std::move(runtime),
        HostOptions{options.create_runtime, *tokens_, forwarder_ ? &*forwarder_ : nullptr,
                    recorder_ ? &*recorder_ : nullptr, inspection_ ? &*inspection_ : nullptr, log,
                    options.ping_seconds, redis_options(options.engine, limits)});
    host_->start();
    if (inspection_)
      inspection_->start({[this] { return host_->snapshot(); }, [this] { host_->align_timer(); }});
    for (Listener& listener : listeners_) {
      listener.acceptor.listen(connections_waiting_max);
      accept(listener);
    }
    wait_for_signal();
  }

  unsigned short port() const { return listeners_.front().acceptor.local_endpoint().port(); }

  std::optional<std::string> inspector_url() const {
    return inspection_ ? std::optional(inspection_->url()) : std::nullopt;
  }

  void run() {
    while (!is_over_) {
      try {
        loop_.context().run();
        return;
      } catch (const std::exception& error) {
        // A bug of this host, or out of memory; it must not close every socket.
        tell("an event handler failed", error);
      }
    }
  }

  /// Completes storage and recording. A name lookup may run in a thread that a destructor would
  /// wait for, possibly for minutes: the process exits without waiting.
  void end() {
    // The rest of the recording may be on its way to a disk that hangs: a third signal ends that.
    stops_left = is_hurried_ ? 1 : 2;
    for (const auto& rule : signal_rules) {
      if (!rule.stops) continue;
      std::signal(rule.number, [](int signal) {
        if (stops_left <= 1) _exit(128 + signal);
        stops_left = stops_left - 1;
      });
    }
    const bool is_resolving = (forwarder_ && forwarder_->is_resolving()) ||
                              (host_->engine() != nullptr && host_->engine()->is_resolving());
    tokens_.reset();
    recorder_.reset();
    if (!is_resolving) return;
    log_.flush();
    _exit(0);
  }

 private:
  void listen(const ServerOptions& options) {
    const Place place{"--host", "--port", options.host, options.port};
    ErrorCode error;
    if (!options.host) {
      if (bind(tcp::endpoint(tcp::v6(), options.port), error)) return;
      // a machine without IPv6
      if (is_missing(error) && bind(tcp::endpoint(tcp::v4(), options.port), error)) return;
      refuse(place, error);
    }
    // A name may have several addresses, such as those of IPv4 and IPv6. Without a port, all get
    // the one that the system has chosen for the first.
    for (const tcp::endpoint& endpoint : resolve(loop_.context(), place)) {
      const unsigned short port = listeners_.empty() ? endpoint.port() : this->port();
      if (!bind(tcp::endpoint(endpoint.address(), port), error) && !is_missing(error))
        refuse(place, error);
    }
    if (listeners_.empty()) refuse(place, error);
  }

  bool bind(const tcp::endpoint& endpoint, ErrorCode& error) {
    Listener& listener = listeners_.emplace_back(loop_.context());
    if (host::bind(listener.acceptor, endpoint, connections_waiting_max, reuse_port_, error))
      return true;
    listeners_.pop_back();
    return false;
  }

  void accept(Listener& listener) {
    listener.acceptor.async_wait(Acceptor::wait_read, [this, &listener](const ErrorCode& stopped) {
      if (stopped || !is_accepting_) return;
      try {
        const std::string wrong = accept_waiting(listener.acceptor);
        if (wrong.empty()) return accept(listener);
        log_.warn("accepting a connection failed", {{"error", wrong}});
      } catch (const std::exception& mistake) {
        tell("setting up a connection failed",
             mistake);  // this one is lost; the next ones are not
      }
      accept_later(listener);
    });
  }

  /// Returns why no connection can be accepted for now, if that is so.
  std::string accept_waiting(Acceptor& acceptor) {
    for (unsigned i = 0; i < accepted_per_turn_max; ++i) {
      const bool is_awaited =
          i == 0;  // a connection is waiting to be accepted; whether more follow is unknown
      if (loop_.deadlines() >= sessions_max) {
        if (!is_awaited) break;
        if (!make_room()) return "too many connections that are not WebSockets";
      }
      ErrorCode error;
      Socket socket(loop_.context().get_executor());
      acceptor.accept(socket, error);
      if (error == asio::error::would_block) break;
      if (error == asio::error::connection_aborted) continue;
      if (error == asio::error::no_descriptors && (!is_awaited || make_room())) break;
      if (error) return errno_text(error.value());
      accepted_();
      take(std::move(socket));
    }
    return {};
  }

  /// Otherwise strangers who hold idle connections would lock everyone out. Returns false if none
  /// is idle.
  bool make_room() {
    const auto wires = loop_.dispensable(ended_for_room);
    for (const auto& wire : wires) wire->drop("dropped to accept another connection");
    if (!wires.empty())
      log_.warn("closed idle connections to accept others", {{"connections", wires.size()}});
    return !wires.empty();
  }

  void accept_later(Listener& listener) {
    listener.retry.expires_after(accept_retry);
    listener.retry.async_wait([this, &listener](const ErrorCode& over) {
      if (!over && is_accepting_) accept(listener);
    });
  }

  void take(Socket socket) {
    ErrorCode ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    socket.set_option(
        asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>(tcp_keep_alive_seconds),
        ignored);
    socket.non_blocking(true, ignored);
    Stream stream(std::move(socket));
    if (tls_ != nullptr) stream.accept_tls(*tls_);
    std::make_shared<HttpSession>(loop_, std::move(stream), *host_, http_rules_)->start();
  }

  /// The cause may be a lack of memory: then even logging fails.
  void tell(std::string_view message, const std::exception& error) noexcept {
    try {
      log_.error(message, {{"error", error.what()}});
    } catch (const std::exception&) {
    }
  }

  void wait_for_signal() {
    signals_.async_wait([this](const ErrorCode& over, int signal) {
      if (over) return;
      on_signal(signal);
      wait_for_signal();
    });
  }

  void on_signal(int signal) {
    const auto* rule = std::find_if(std::begin(signal_rules), std::end(signal_rules),
                                    [=](const auto& it) { return it.number == signal; });
    const Log::Field name("signal", rule->name);
    if (!rule->stops) return log_.info("ignored a signal", {name});
    if (std::exchange(is_stopping_, true)) {
      is_hurried_ = true;
      return;
    }
    log_.info("shutting down", {name});
    if (drain_time_ > Milliseconds(0))
      drain();
    else
      stop();
  }

  // --- shutdown: drain, stop accepting, let forwards in flight finish, close sockets with 1001 ---

  /// Until no socket is left, and load balancers have noticed.
  void drain() {
    const auto sockets = [this] { return host_->clients().size(); };
    log_.info("draining", {{"seconds", drain_time_.count() / 1000}, {"clients", sockets()}});
    if (reuse_port_) stop_accepting();  // the other processes of this port get them
    host_->drain(static_cast<u32>(drain_time_.count()));
    const Milliseconds quiet = drain_time_ / drain_quiet_parts;
    until([] { return false; }, quiet,
          [this, sockets, quiet] {
            until([sockets] { return sockets() == 0; }, drain_time_ - quiet, [this] { stop(); });
          });
  }

  void stop_accepting() {
    is_accepting_ = false;
    ErrorCode ignored;
    for (Listener& listener : listeners_) listener.acceptor.close(ignored);
  }

  void stop() {
    stop_accepting();
    host_->shut_down();
    for (const auto& wire : loop_.with_deadline()) {
      if (const auto session = std::dynamic_pointer_cast<HttpSession>(wire)) session->stop();
    }
    const auto are_forwards_done = [this] {
      return !forwarder_ || (forwarder_->open() == 0 && !host_->holds_forwards());
    };
    until(are_forwards_done, shutdown_forwards, [this, are_forwards_done] {
      if (forwarder_) forwarder_->end();
      until(are_forwards_done, shutdown_sockets, [this] { close_sockets(); });
    });
  }

  void close_sockets() {
    for (const auto& socket : host_->clients().all())
      socket->end(close_going_away, "the Sidekick is shutting down");
    until([this] { return host_->clients().size() == 0 && loop_.with_deadline().empty(); },
          shutdown_sockets,
          [this] {
            for (const auto& socket : host_->clients().all())
              socket->drop("the Sidekick stops");  // the recording must include every close
            leave_engine();
          });
  }

  /// The hub releases the tokens of these clients in the engine.
  void leave_engine() {
    Redis* const engine = host_->engine();
    until([engine] { return engine == nullptr || engine->is_idle(); }, shutdown_engine,
          [this, engine] {
            is_over_ = true;
            if (engine != nullptr) engine->end();
            if (inspection_) inspection_->close();
            if (forwarder_) forwarder_->destroy();
            asio::post(loop_.context(), [this] {
              loop_.context().stop();
            });  // after the end of this turn, which stores what the closes have changed
          });
  }

  void until(std::function<bool()> over, Milliseconds at_most, std::function<void()> then) {
    const auto end = std::chrono::steady_clock::now() + at_most;
    const auto step = std::make_shared<std::function<void()>>();
    *step = [this, over = std::move(over), then = std::move(then), end, step] {
      if (over() || is_hurried_ || std::chrono::steady_clock::now() >= end) {
        const auto next = then;
        *step = nullptr;
        return next();
      }
      wait_.expires_after(shutdown_step);
      wait_.async_wait([step](const ErrorCode&) { (*step)(); });
    };
    // After the end of this turn, which writes what was sent in it.
    asio::post(loop_.context(), [step] { (*step)(); });
  }

  Log& log_;
  std::function<void()> accepted_;
  const bool reuse_port_;
  const Milliseconds drain_time_;
  Loop loop_;
  std::optional<Forwarder> forwarder_;
  TlsContext tls_;
  std::optional<Recorder> recorder_;
  std::optional<Inspection> inspection_;
  std::unique_ptr<TokenStore> tokens_;
  std::optional<Host> host_;  // does not use tokens and recordings after run() returns
  HttpRules http_rules_;
  std::list<Listener> listeners_;
  asio::signal_set signals_;
  Loop::Timer wait_;
  bool is_accepting_ = true;
  bool is_stopping_ = false;
  bool is_hurried_ = false;
  bool is_over_ = false;
};

}  // namespace

void serve(const ServerOptions& options, Log& log,
           const std::function<void(const Started&)>& started) {
  for (const int signal : ignored_signals) std::signal(signal, SIG_IGN);
  Server server(options, log);
  started({server.port(), server.inspector_url()});
  server.run();
  server.end();
}

}  // namespace sidekick::host
