#include "http/forwarder.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <openssl/x509.h>

#include "errors.hpp"
#include "net/connect.hpp"
#include "net/stream.hpp"

namespace sidekick::host {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t idle_links_max = 256;
constexpr milliseconds idle_step{250};
/// An idle connection is dropped this much before the app server would close it, or after half the
/// time: a message that is under way when the app server closes is lost.
constexpr milliseconds idle_margin{1000};
/// After this time, how long the app server was seen to keep idle connections is forgotten.
constexpr std::chrono::minutes idle_bound_time{10};
/// Time allowed for the rest of an answer whose status suffices.
constexpr milliseconds rest_time{100};
constexpr unsigned redirects_max = 5;
/// Maximum number of reads of what has come before a write failed.
constexpr unsigned last_reads_max = 64;
constexpr char shutting_down[] = "the Sidekick is shutting down";

milliseconds with_margin(milliseconds time) { return time - std::min(idle_margin, time / 2); }

milliseconds since(Loop::Time time, Loop::Time now) {
  return std::chrono::duration_cast<milliseconds>(now - time);
}

/// dirs: separated by colons, as in SSL_CERT_DIR.
bool has_files(std::string_view dirs) {
  for (;;) {
    const std::size_t colon = dirs.find(':');
    std::error_code ignored;
    const std::filesystem::directory_iterator files(dirs.substr(0, colon), ignored);
    if (files != end(files)) return true;
    if (colon == std::string_view::npos) return false;
    dirs.remove_prefix(colon + 1);
  }
}

/// At the start: otherwise the first message would show it.
void warn_without_authorities(SSL_CTX& context, Log& log) {
  const X509_STORE* store = SSL_CTX_get_cert_store(&context);
  const char* dirs = std::getenv(X509_get_default_cert_dir_env());
  if (sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0) return;
  if (has_files(dirs != nullptr ? dirs : X509_get_default_cert_dir())) return;
  log.warn(
      "no CA certificates found: no app server with https can be trusted; install them (package "
      "ca-certificates) or set SSL_CERT_FILE or SSL_CERT_DIR");
}

}  // namespace

struct Forwarder::Forward {
  Forward(Loop& loop, std::string it, u32 timeout_ms, u32 limit, const ServerUrl& url, Done then)
      : body(std::move(it)),
        done(std::move(then)),
        limit_ms(limit),
        until(std::chrono::steady_clock::now() + milliseconds(limit)),
        status_until(until - milliseconds(limit) + milliseconds(timeout_ms - timeout_ms / 10)),
        target(url),
        timer(loop.context().get_executor()) {}

  std::string body;
  Done done;
  u32 limit_ms;
  Loop::Time until;
  /// From then on the status of an incomplete answer is the result.
  Loop::Time status_until;
  ServerUrl target;
  unsigned redirects = 0;
  Loop::Timer timer;
  std::weak_ptr<Link> link;
  std::optional<AnswerReader> reader;
  bool is_sent = false;  ///< a part of the request was sent
  bool is_rest_awaited = false;
};

/// One connection to an app server.
class Forwarder::Link : public std::enable_shared_from_this<Link> {
 public:
  Link(Forwarder& owner, ServerUrl target) : owner_(owner), target_(std::move(target)) {}

  /// When the connection became idle, and for how long it may be.
  Loop::Time idle_since;
  milliseconds idle_time_max{0};
  /// How long the connection was idle before the current request.
  milliseconds idle_time{0};

  const ForwardPtr& forward() const { return forward_; }

  void carry(const ForwardPtr& forward) {
    forward_ = forward;
    forward->link = weak_from_this();
    forward->reader.emplace(owner_.options_.answer_bytes_max);
    forward->is_sent = false;
    head_ = owner_.head_of(*forward);
    written_ = 0;
    if (stream_)
      write();
    else
      connect();
  }

  /// The whole request was sent.
  bool is_flushed() const { return written_ == head_.size() + forward_->body.size(); }

  /// From now on anything that comes belongs to no answer.
  void rest() { forward_ = nullptr; }

  /// An idle connection on which nothing has come, not even its end.
  bool is_quiet() {
    char byte = 0;
    return stream_->read({&byte, 1}).state == Io::blocked;
  }

  /// Nothing is called any more but on_closed(), at once.
  void close() {
    if (is_closed_) return;
    is_closed_ = true;
    const auto self = shared_from_this();
    forward_ = nullptr;
    if (connecting_ != nullptr) connecting_->cancel();
    if (stream_) stream_->close();
    owner_.on_closed(self);
  }

 private:
  void connect() {
    connecting_ = std::make_shared<Connecting>(owner_.loop_, owner_.lookups_);
    connecting_->start(
        target_.host, target_.port,
        [self = shared_from_this()](Socket socket) { self->connected(std::move(socket)); },
        [self = shared_from_this()](const std::string& why) { self->gone(why); });
  }

  void connected(Socket socket) {
    ErrorCode ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    stream_.emplace(std::move(socket));
    if (target_.is_https) {
      if (owner_.tls_ == nullptr) owner_.tls_ = client_tls();  // after a redirect
      if (!stream_->connect_tls(*owner_.tls_, target_.host)) return gone("TLS cannot be set up");
    }
    wait_read();
    write();
  }

  void write() {
    if (is_closed_ || forward_ == nullptr) return;
    while (!is_flushed()) {
      const std::size_t head_written = std::min(written_, head_.size());
      const std::size_t body_written = written_ - head_written;
      iovec pieces[] = {
          {head_.data() + head_written, head_.size() - head_written},
          {forward_->body.data() + body_written, forward_->body.size() - body_written}};
      const IoResult result = stream_->write(pieces);
      if (result.state == Io::failed || result.state == Io::ended)
        return on_write_failed(result.state == Io::failed ? stream_->error()
                                                          : "the connection was closed");
      if (result.state == Io::blocked) {
        stream_->wait_write([self = shared_from_this()](const ErrorCode& error) {
          if (!error) self->write();
        });
        return;
      }
      written_ += result.bytes;
      forward_->is_sent = true;
    }
  }

  /// The answer may have come before the app server closed the connection.
  void on_write_failed(const std::string& why) {
    for (unsigned reads = 0; reads < last_reads_max; ++reads) {
      auto& buffer = owner_.loop_.read_buffer();
      const IoResult result = stream_->read(buffer);
      if (result.state != Io::done) break;
      forward_->reader->push({buffer.data(), result.bytes});
      if (forward_->reader->is_over()) break;
    }
    gone(why);
  }

  void wait_read() {
    stream_->wait_read([self = shared_from_this()](const ErrorCode& error) {
      if (!error && !self->is_closed_) self->on_readable();
    });
  }

  void on_readable() {
    auto& buffer = owner_.loop_.read_buffer();
    const IoResult result = stream_->read(buffer);
    switch (result.state) {
      case Io::done:
        if (forward_ == nullptr) return gone("bytes that belong to no answer");
        forward_->reader->push({buffer.data(), result.bytes});
        owner_.on_read(shared_from_this());
        break;
      case Io::blocked:
        break;
      case Io::ended:
        return on_end();
      case Io::failed:
        return gone(stream_->error());
    }
    if (!is_closed_) wait_read();
  }

  void on_end() {
    if (forward_ == nullptr) return gone("");
    AnswerReader& reader = *forward_->reader;
    reader.end();
    gone(stream_->is_cut() ? "the connection was closed without close_notify" : reader.error());
  }

  void gone(const std::string& why) {
    if (!is_closed_) owner_.on_gone(shared_from_this(), why);
  }

  Forwarder& owner_;
  ServerUrl target_;
  std::shared_ptr<Connecting> connecting_;
  std::optional<Stream> stream_;
  ForwardPtr forward_;
  std::string head_;
  std::size_t written_ = 0;
  bool is_closed_ = false;
};

Forwarder::Forwarder(Loop& loop, const ForwarderOptions& options, Log& log)
    : loop_(loop),
      options_(options),
      url_(parse_server_url(options.url)),
      authorization_("Authorization: Bearer " + options.secret + "\r\n"),
      log_(log),
      idle_timer_(loop.context().get_executor()) {
  if (!url_.is_https) return;
  tls_ = client_tls();
  warn_without_authorities(*tls_, log);
}

Forwarder::~Forwarder() { destroy(); }

Forwarder::Handle Forwarder::send(std::string body, u32 timeout_ms, u32 limit_ms, Done done) {
  const auto forward = std::make_shared<Forward>(loop_, std::move(body), timeout_ms, limit_ms, url_,
                                                 std::move(done));
  open_.insert(forward);
  if (is_ended_) {
    asio::post(loop_.context(), [this, forward] { give_up(forward, shutting_down); });
    return forward;
  }
  end_in_time(forward);
  start(forward);
  return forward;
}

void Forwarder::cancel(const Handle& handle) {
  const ForwardPtr forward = handle.lock();
  if (forward == nullptr) return;
  log_.warn("a forward failed",
            {{"url", forward->target.shown}, {"reason", "no answer in time (forward_timeout_ms)"}});
  forward->done = [](const ForwardResult&) {};
  end_one(forward, {Outcome::broken_off});
}

template <class End>
void Forwarder::end_at(const ForwardPtr& forward, Loop::Time time, End end) {
  forward->timer.expires_at(time);
  forward->timer.async_wait([forward, end = std::move(end)](const ErrorCode& stopped) {
    if (!stopped) end();
  });
}

void Forwarder::end_in_time(const ForwardPtr& forward) {
  end_at(forward, forward->until, [this, forward] {
    give_up(forward, "no answer within " + std::to_string(forward->limit_ms) + " ms",
            Outcome::timed_out);
  });
}

bool Forwarder::is_home(const Forward& forward) const {
  return forward.target.is_same_origin(url_);
}

void Forwarder::start(const ForwardPtr& forward) {
  if (is_home(*forward)) {
    if (const LinkPtr link = take_idle()) return link->carry(forward);
  }
  if (links_.size() >= options_.links_max && !idle_.empty())
    idle_.front()->close();  // no forward waits while a connection is idle
  if (links_.size() >= options_.links_max) return waiting_.push_back(forward);
  const auto link = std::make_shared<Link>(*this, forward->target);
  links_.insert(link);
  link->carry(forward);
}

Forwarder::LinkPtr Forwarder::take_idle() {
  const auto now = std::chrono::steady_clock::now();
  while (!idle_.empty()) {
    const LinkPtr link = idle_.back();
    idle_.pop_back();
    link->idle_time = since(link->idle_since, now);
    if (link->idle_time < link->idle_time_max) {
      if (link->is_quiet()) return link;
      learn(now, link->idle_time);
    }
    link->close();
  }
  return nullptr;
}

Forwarder::ForwardPtr Forwarder::take_waiting() {
  while (!is_ended_ && !waiting_.empty()) {
    const ForwardPtr next = waiting_.front();
    waiting_.pop_front();
    if (open_.contains(next)) return next;
  }
  return nullptr;
}

std::string Forwarder::head_of(const Forward& forward) const {
  std::string head = "POST " + forward.target.target +
                     " HTTP/1.1\r\nHost: " + forward.target.authority +
                     "\r\nUser-Agent: covenant-sidekick/";
  head += core_version;
  head += "\r\nContent-Type: application/json\r\n";
  // Another origin must not learn the secret.
  if (is_home(forward)) head += authorization_;
  head += "Connection: keep-alive\r\nContent-Length: " + std::to_string(forward.body.size()) +
          "\r\n\r\n";
  return head;
}

void Forwarder::on_read(const LinkPtr& link) {
  const ForwardPtr forward = link->forward();
  const AnswerReader& reader = *forward->reader;
  if (reader.is_over()) {
    if (reader.status() == 0) return give_up(forward, reader.error());
    return answered(forward);
  }
  if (reader.status() == 0 || forward->is_rest_awaited) return;
  // The status stands. The rest may still say why, or keep the connection usable.
  forward->is_rest_awaited = true;
  auto until = forward->status_until;
  if (reader.is_taken()) until = std::min(until, std::chrono::steady_clock::now() + rest_time);
  end_at(forward, until, [this, forward] { answered(forward); });
}

/// The connection is gone, or cannot be made.
void Forwarder::on_gone(const LinkPtr& link, const std::string& why) {
  const auto now = std::chrono::steady_clock::now();
  const ForwardPtr forward = link->forward();
  if (forward == nullptr) {
    learn(now, since(link->idle_since, now));
    return link->close();
  }
  // No answer on a reused connection: the app server closed it when the request was under way.
  if (link->idle_time.count() > 0 && forward->reader->is_untouched()) learn(now, link->idle_time);
  give_up(forward, why);
}

void Forwarder::on_closed(const LinkPtr& link) {
  links_.erase(link);
  const auto found = std::find(idle_.begin(), idle_.end(), link);
  if (found != idle_.end()) idle_.erase(found);
  if (links_.size() >= options_.links_max) return;
  if (const ForwardPtr next = take_waiting()) start(next);
}

/// A final status line has come: the result can only be that status.
void Forwarder::answered(const ForwardPtr& forward) {
  if (!open_.contains(forward)) return;
  const AnswerReader& reader = *forward->reader;
  const u32 status = reader.status();
  if (const LinkPtr link = forward->link.lock()) {
    if (reader.is_clean() && link->is_flushed() && is_home(*forward))
      release(link, reader);
    else
      link->close();
  }
  forward->link.reset();
  if (reader.is_cut())
    log_.debug("the app server's answer is too long and was truncated",
               {{"status", status}, {"answer_bytes_max", options_.answer_bytes_max}});
  if (!reader.error().empty())
    log_.warn("the app server's answer is unreadable; its status counts",
              {{"url", forward->target.shown}, {"status", status}, {"reason", reader.error()}});
  if (follow(forward)) return;
  if (!reader.is_taken()) log_refusal(*forward);
  end_one(forward, {Outcome::answered, status, status == 101 ? Bytes() : Bytes(reader.body())});
}

/// Returns true if the forward is on its way to where the app server has redirected it.
bool Forwarder::follow(const ForwardPtr& forward) {
  const AnswerReader& reader = *forward->reader;
  const u32 status = reader.status();
  if ((status != 307 && status != 308) || !reader.location() || is_ended_ ||
      forward->redirects == redirects_max)
    return false;
  const auto target = redirected(forward->target, *reader.location());
  if (!target) return false;
  log_.warn("the app server redirects: set --server-url to the final address",
            {{"url", forward->target.shown}, {"status", status}, {"location", target->shown}});
  forward->target = *target;
  ++forward->redirects;
  forward->reader.reset();  // it may have to wait, and has no status then
  forward->is_rest_awaited = false;
  forward->is_sent = false;
  end_in_time(forward);
  start(forward);
  return true;
}

/// The link is idle, or carries a forward that was waiting, or makes room for one to another
/// origin.
void Forwarder::release(const LinkPtr& link, const AnswerReader& reader) {
  const auto now = std::chrono::steady_clock::now();
  link->rest();
  link->idle_since = now;
  link->idle_time = {};
  if (const ForwardPtr next = take_waiting()) {
    if (is_home(*next)) return link->carry(next);
    waiting_.push_front(next);
    return link->close();  // which starts it
  }
  link->idle_time_max = options_.idle_time;
  if (idle_bound_until_ > now) link->idle_time_max = std::min(link->idle_time_max, idle_bound_);
  if (const auto seconds = reader.keep_alive_seconds())
    link->idle_time_max =
        std::min(link->idle_time_max, with_margin(std::chrono::seconds(*seconds)));
  if (link->idle_time_max.count() <= 0 || idle_.size() >= idle_links_max || is_ended_)
    return link->close();
  idle_.push_back(link);
  drop_idle_later();
}

/// The app server has closed a connection that was idle for so long: others are kept for less.
void Forwarder::learn(Loop::Time now, Milliseconds idle_time) {
  const Milliseconds bound = with_margin(idle_time);
  if (idle_bound_until_ > now && bound >= idle_bound_) return;
  idle_bound_ = bound;
  idle_bound_until_ = now + idle_bound_time;
}

void Forwarder::drop_idle_later() {
  if (is_idle_timer_set_) return;
  is_idle_timer_set_ = true;
  idle_timer_.expires_after(idle_step);
  idle_timer_.async_wait([this](const ErrorCode& stopped) {
    if (stopped) return;
    is_idle_timer_set_ = false;
    const auto now = std::chrono::steady_clock::now();
    const std::vector<LinkPtr> idle(idle_.begin(), idle_.end());
    for (const LinkPtr& link : idle) {
      if (since(link->idle_since, now) >= link->idle_time_max) link->close();
    }
    if (!idle_.empty()) drop_idle_later();
  });
}

void Forwarder::give_up(const ForwardPtr& forward, const std::string& why,
                        std::optional<Outcome> outcome) {
  if (!open_.contains(forward)) return;
  if (forward->reader && forward->reader->status() != 0) return answered(forward);
  log_.warn("a forward failed", {{"url", forward->target.shown}, {"reason", why}});
  end_one(forward,
          {outcome.value_or(forward->is_sent ? Outcome::broken_off : Outcome::unreachable)});
}

void Forwarder::log_refusal(const Forward& forward) {
  const AnswerReader& reader = *forward.reader;
  const u32 status = reader.status();
  const auto log = [&](Log::Fields fields) {
    // The app's own `error()` answers with 400: not the operator's concern.
    if (status == 400)
      log_.debug("the app server rejected a message", fields);
    else
      log_.warn("the app server rejected a message", fields);
  };
  std::optional<ServerUrl> to;
  if (status >= 300 && status < 400 && reader.location())
    to = redirected(forward.target, *reader.location());
  std::string hint;
  if (to && (status == 307 || status == 308)) {
    hint = "more than " + std::to_string(redirects_max) +
           " redirects: set --server-url to the final address";
  } else if (to) {
    hint = "a POST does not follow this redirect: set --server-url to " + to->shown;
  } else if (!is_home(forward) && (status == 401 || status == 403)) {
    hint = "after a redirect to another origin, which does not get the server secret";
  }
  if (hint.empty())
    log({{"url", forward.target.shown}, {"status", status}});
  else
    log({{"url", forward.target.shown}, {"status", status}, {"hint", hint}});
}

/// The first result counts; later events of the connection are ignored.
void Forwarder::end_one(const ForwardPtr& forward, const ForwardResult& result) {
  if (open_.erase(forward) == 0) return;
  forward->timer.cancel();
  if (const LinkPtr link = forward->link.lock()) link->close();
  forward->done(result);
}

void Forwarder::end() {
  is_ended_ = true;
  const std::vector<ForwardPtr> open(open_.begin(), open_.end());
  for (const ForwardPtr& forward : open) give_up(forward, shutting_down);
}

void Forwarder::destroy() {
  is_ended_ = true;
  for (const ForwardPtr& forward : open_) forward->timer.cancel();
  open_.clear();
  waiting_.clear();
  idle_timer_.cancel();
  const std::vector<LinkPtr> links(links_.begin(), links_.end());
  for (const LinkPtr& link : links) link->close();
}

}  // namespace sidekick::host
