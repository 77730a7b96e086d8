#include "http/forwarder.hpp"

#include <algorithm>
#include <optional>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "errors.hpp"

namespace sidekick::host {

namespace http = boost::beast::http;

namespace {

constexpr std::size_t idle_links_max = 256;
/// Idle connections are dropped after this time, before the server drops them (Node: after 5 s), so
/// that no forward meets a connection that is being closed.
constexpr std::chrono::milliseconds idle_time{4000};
constexpr std::chrono::milliseconds idle_step{250};
/// Time allowed for the rest of an answer whose status suffices.
constexpr std::chrono::milliseconds rest_time{100};
constexpr u32 head_bytes_max = 16 * 1024;
/// Maximum number of 1xx responses before the final one.
constexpr unsigned interim_answers_max = 16;
/// After this time the next address is tried, if there is one.
constexpr std::chrono::milliseconds connect_time{1000};
constexpr char shutting_down[] = "the Sidekick is shutting down";

/// A 2xx status means the app server has accepted the message; the rest of the answer is
/// irrelevant.
bool is_taken(u32 status) { return status >= 200 && status < 300; }

std::string error_text(const char* what, const ErrorCode& error) {
  if (error.category() == boost::system::system_category())
    return std::string(what) + " " + errno_text(error.value());
  return std::string(what) + " " + error.message();
}

/// As header bytes: Latin-1, as Node sends it.
std::string header_value(const std::string& text) {
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<u8>(text[i]);
    const bool is_latin = (byte == 0xc2 || byte == 0xc3) && i + 1 < text.size();
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f || (byte >= 0x80 && !is_latin)) {
      throw ConfigError(
          "server secret: it contains a character that is not allowed in an HTTP header");
    }
    value += is_latin ? static_cast<char>((byte & 3) << 6 | (static_cast<u8>(text[++i]) & 0x3f))
                      : text[i];
  }
  return value;
}

}  // namespace

struct Forwarder::Forward {
  Forward(Loop& loop, std::string it, Done then)
      : body(std::move(it)), done(std::move(then)), timer(loop.context().get_executor()) {}

  /// What its end without a status line means.
  Outcome outcome() const { return is_sent ? Outcome::broken_off : Outcome::unreachable; }

  std::string body;
  Done done;
  Loop::Timer timer;
  std::weak_ptr<Link> link;
  bool is_sent = false;  ///< a part of the request was sent
};

/// One connection to the app server.
class Forwarder::Link : public std::enable_shared_from_this<Link> {
 public:
  explicit Link(Forwarder& owner)
      : owner_(owner),
        stream_(Socket(owner.loop_.context().get_executor())),
        resolver_(owner.loop_.context().get_executor()),
        connect_timer_(owner.loop_.context().get_executor()) {}

  Loop::Time idle_since;

  void connect(const ForwardPtr& forward) {
    forward_ = forward;
    forward->link = weak_from_this();
    ++owner_.lookups_;
    resolver_.async_resolve(
        owner_.url_.host, owner_.url_.port,
        [self = shared_from_this()](const ErrorCode& error, const auto& endpoints) {
          --self->owner_.lookups_;
          if (self->is_closed_) return;
          if (error) return self->gone(error_text("resolving the name:", error));
          for (const auto& endpoint : endpoints) self->endpoints_.push_back(endpoint.endpoint());
          self->connect_next({});
        });
  }

  void carry(const ForwardPtr& forward) {
    forward_ = forward;
    forward->link = weak_from_this();
    begin();
  }

  /// The rest of the answer did not arrive in time.
  void give_up_rest() {
    if (forward_ != nullptr) finish(false);
  }

  /// Drops the connection without an answer.
  void close() {
    if (is_closed_) return;
    is_closed_ = true;
    resolver_.cancel();
    connect_timer_.cancel();
    stream_.close();
    owner_.on_gone(shared_from_this());
  }

 private:
  using Parser = http::response_parser<http::string_body>;

  void connect_next(std::string why) {
    if (endpoints_.empty()) return gone(why.empty() ? "the name has no address" : std::move(why));
    const auto endpoint = endpoints_.front();
    endpoints_.pop_front();
    stream_.close();
    give_up_connecting_later();
    stream_.socket().async_connect(
        endpoint, [self = shared_from_this(), endpoint](const ErrorCode& error) {
          ++self->connects_over_;
          if (self->is_closed_) return;
          const std::string name =
              endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
          if (error) return self->connect_next(error_text("connect", error) + " " + name);
          self->connected();
        });
  }

  /// An unresponsive address must not use up the time of the next ones.
  void give_up_connecting_later() {
    if (endpoints_.empty()) return;
    connect_timer_.expires_after(connect_time);
    connect_timer_.async_wait(
        [self = shared_from_this(), before = connects_over_](const ErrorCode& stopped) {
          ErrorCode ignored;
          if (!stopped && self->connects_over_ == before) self->stream_.socket().cancel(ignored);
        });
  }

  void connected() {
    ErrorCode ignored;
    connect_timer_.cancel();
    stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    if (owner_.url_.is_https && !stream_.connect_tls(*owner_.tls_, owner_.url_.host))
      return gone("TLS cannot be set up");
    wait_read();
    begin();
  }

  void begin() {
    begin_answer();
    head_ = owner_.head_ + std::to_string(forward_->body.size()) + "\r\n\r\n";
    written_ = 0;
    write();
  }

  void begin_answer() {
    parser_.emplace();
    parser_->header_limit(head_bytes_max);
    parser_->body_limit(boost::none);
    parser_->eager(true);
  }

  void write() {
    if (is_closed_ || forward_ == nullptr) return;
    const std::size_t size = head_.size() + forward_->body.size();
    while (written_ < size) {
      const std::size_t head_written = std::min(written_, head_.size());
      const std::size_t body_written = written_ - head_written;
      iovec pieces[] = {
          {head_.data() + head_written, head_.size() - head_written},
          {forward_->body.data() + body_written, forward_->body.size() - body_written}};
      const IoResult result = stream_.write(pieces);
      if (result.state == Io::failed || result.state == Io::ended)
        return gone(result.state == Io::failed ? stream_.error() : "the connection was closed");
      if (result.state == Io::blocked) {
        stream_.wait_write([self = shared_from_this()](const ErrorCode& error) {
          if (!error) self->write();
        });
        return;
      }
      written_ += result.bytes;
      forward_->is_sent = true;
    }
  }

  void wait_read() {
    stream_.wait_read([self = shared_from_this()](const ErrorCode& error) {
      if (!error && !self->is_closed_) self->on_readable();
    });
  }

  void on_readable() {
    auto& buffer = owner_.loop_.read_buffer();
    const IoResult result = stream_.read(buffer);
    switch (result.state) {
      case Io::done:
        if (forward_ == nullptr) return close();  // a response to something we did not ask for
        on_bytes({buffer.data(), result.bytes});
        break;
      case Io::blocked:
        break;
      case Io::ended:
        return on_end();
      case Io::failed:
        return gone(stream_.error());
    }
    if (!is_closed_) wait_read();
  }

  void on_bytes(std::string_view bytes) {
    if (!pending_.empty()) {
      pending_ += bytes;
      const std::string all = std::move(pending_);
      pending_.clear();
      return parse(all);
    }
    parse(bytes);
  }

  void parse(std::string_view bytes) {
    while (!bytes.empty() && !is_closed_ && forward_ != nullptr) {
      ErrorCode error;
      const std::size_t size = parser_->put(asio::buffer(bytes.data(), bytes.size()), error);
      bytes.remove_prefix(size);
      if (error && error != http::error::need_more) return gone(error.message());
      if (parser_->is_header_done() && on_parsed(bytes.empty())) return;
      if (error == http::error::need_more) break;
    }
    pending_ = bytes;
    if (pending_.size() > head_bytes_max) gone("a header or chunk of the answer has no end");
  }

  /// Returns true when the answer is complete.
  bool on_parsed(bool is_all) {
    const u32 status = parser_->get().result_int();
    if (status >= 100 && status < 200 && status != 101) {
      if (++interim_answers_ > interim_answers_max) return gone("too many 1xx responses"), true;
      begin_answer();  // the final response follows
      return false;
    }
    if (!is_refusal_logged_) owner_.log_refusal(status);
    is_refusal_logged_ = true;
    if (is_taken(status)) {
      parser_->get().body().clear();
      if (!parser_->is_done()) return await_rest();
    }
    const std::string& body = parser_->get().body();
    const bool is_cut = body.size() > owner_.answer_bytes_max_;
    if (!is_cut && !parser_->is_done() && status != 101) return false;
    if (is_cut)
      owner_.log_.debug("the app server's answer is too long and was truncated",
                        {{"status", status}, {"answer_bytes_max", owner_.answer_bytes_max_}});
    finish(parser_->is_done() && is_all && !is_cut && parser_->keep_alive() && status != 101);
    return true;
  }

  /// Only to keep the connection, if the rest is short.
  bool await_rest() {
    if (!std::exchange(is_rest_awaited_, true))
      owner_.end_in(forward_, rest_time, [self = shared_from_this()] { self->give_up_rest(); });
    return false;
  }

  void on_end() {
    if (forward_ == nullptr) return close();
    if (stream_.is_cut())
      return gone("the connection was closed without close_notify: the answer may be truncated");
    ErrorCode error;
    if (parser_->got_some() && parser_->is_header_done()) parser_->put_eof(error);
    if (!error && parser_->is_header_done() && parser_->is_done()) return finish(false);
    gone(parser_->got_some() ? "the connection was closed in the middle of the answer"
                             : "the connection was closed before an answer came");
  }

  /// The answer is complete. stays: the connection is kept for the next forward.
  void finish(bool stays) {
    const auto self = shared_from_this();
    const ForwardPtr forward = std::exchange(forward_, nullptr);
    forward->link.reset();
    const u32 status = parser_->get().result_int();
    const std::string body = std::move(parser_->get().body());
    parser_.reset();
    pending_.clear();
    is_refusal_logged_ = false;
    is_rest_awaited_ = false;
    interim_answers_ = 0;
    if (stays && written_ == head_.size() + forward->body.size())
      owner_.on_idle(self);
    else
      close();
    const bool has_body = status != 101 && !is_taken(status);
    owner_.end_one(forward, {Outcome::answered, status,
                             Bytes(body).substr(0, has_body ? owner_.answer_bytes_max_ : 0)});
  }

  void gone(const std::string& why) {
    const bool has_status = forward_ != nullptr && parser_.has_value() && parser_->is_header_done();
    if (has_status && is_taken(parser_->get().result_int())) return finish(false);
    const auto self = shared_from_this();
    const ForwardPtr forward = std::exchange(forward_, nullptr);
    close();
    if (forward != nullptr) owner_.fail(forward, forward->outcome(), why);
  }

  Forwarder& owner_;
  Stream stream_;
  asio::ip::basic_resolver<asio::ip::tcp, asio::io_context::executor_type> resolver_;
  Loop::Timer connect_timer_;
  std::deque<asio::ip::tcp::endpoint> endpoints_;
  unsigned connects_over_ = 0;
  unsigned interim_answers_ = 0;
  ForwardPtr forward_;
  std::optional<Parser> parser_;
  std::string head_;
  std::string pending_;
  std::size_t written_ = 0;
  bool is_refusal_logged_ = false;
  bool is_rest_awaited_ = false;
  bool is_closed_ = false;
};

Forwarder::Forwarder(Loop& loop, const std::string& url, const std::string& secret,
                     u32 answer_bytes_max, Log& log)
    : loop_(loop),
      url_(parse_server_url(url)),
      answer_bytes_max_(answer_bytes_max),
      log_(log),
      idle_timer_(loop.context().get_executor()) {
  if (url_.is_https) tls_ = client_tls();
  head_ =
      "POST " + url_.target + " HTTP/1.1\r\nHost: " + url_.authority +
      "\r\nContent-Type: application/json\r\nAuthorization: " + header_value("Bearer " + secret) +
      "\r\nConnection: keep-alive\r\nContent-Length: ";
}

Forwarder::~Forwarder() { destroy(); }

Forwarder::Handle Forwarder::send(std::string body, u32 timeout_ms, Done done) {
  const auto forward = std::make_shared<Forward>(loop_, std::move(body), std::move(done));
  open_.insert(forward);
  if (is_ended_) {
    asio::post(loop_.context(),
               [this, forward] { fail(forward, Outcome::unreachable, shutting_down); });
    return forward;
  }
  end_in(forward, std::chrono::milliseconds(timeout_ms), [this, forward, timeout_ms] {
    fail(forward, Outcome::timed_out, "no answer within " + std::to_string(timeout_ms) + " ms");
  });
  start(forward);
  return forward;
}

void Forwarder::cancel(const Handle& handle) {
  const ForwardPtr forward = handle.lock();
  if (forward == nullptr) return;
  forward->done = [](const ForwardResult&) {};
  end_one(forward, {forward->outcome()});
}

template <class End>
void Forwarder::end_in(const ForwardPtr& forward, std::chrono::milliseconds time, End end) {
  forward->timer.expires_after(time);
  forward->timer.async_wait([forward, end = std::move(end)](const ErrorCode& stopped) {
    if (!stopped) end();
  });
}

void Forwarder::start(const ForwardPtr& forward) {
  if (!idle_.empty()) {
    const LinkPtr link = idle_.back();
    idle_.pop_back();
    return link->carry(forward);
  }
  if (links_.size() >= links_max) return waiting_.push_back(forward);
  const auto link = std::make_shared<Link>(*this);
  links_.insert(link);
  link->connect(forward);
}

void Forwarder::on_idle(const LinkPtr& link) {
  link->idle_since = std::chrono::steady_clock::now();
  while (!waiting_.empty()) {
    const ForwardPtr next = waiting_.front();
    waiting_.pop_front();
    if (open_.contains(next)) return link->carry(next);
  }
  if (idle_.size() >= idle_links_max) return link->close();
  idle_.push_back(link);
  drop_idle_later();
}

void Forwarder::on_gone(const LinkPtr& link) {
  links_.erase(link);
  const auto found = std::find(idle_.begin(), idle_.end(), link);
  if (found != idle_.end()) idle_.erase(found);
  while (!is_ended_ && !waiting_.empty() && links_.size() < links_max) {
    const ForwardPtr next = waiting_.front();
    waiting_.pop_front();
    if (open_.contains(next)) start(next);
  }
}

void Forwarder::drop_idle_later() {
  if (is_idle_timer_set_) return;
  is_idle_timer_set_ = true;
  idle_timer_.expires_after(idle_step);
  idle_timer_.async_wait([this](const ErrorCode& stopped) {
    if (stopped) return;
    is_idle_timer_set_ = false;
    const auto before = std::chrono::steady_clock::now() - idle_time;
    while (!idle_.empty() && idle_.front()->idle_since < before) LinkPtr(idle_.front())->close();
    if (!idle_.empty()) drop_idle_later();
  });
}

void Forwarder::fail(const ForwardPtr& forward, Outcome outcome, const std::string& why) {
  if (!open_.contains(forward)) return;
  log_.warn("a forward failed", {{"url", url_.shown}, {"reason", why}});
  end_one(forward, {outcome});
}

void Forwarder::log_refusal(u32 status) {
  if (is_taken(status)) return;
  const auto log = [&](Log::Fields fields) {
    // The app's own `error()` answers with 400: not the operator's concern.
    if (status == 400)
      log_.debug("the app server rejected a message", fields);
    else
      log_.warn("the app server rejected a message", fields);
  };
  if (status >= 300 && status < 400) {
    log({{"url", url_.shown},
         {"status", status},
         {"hint", "redirects are not followed: set --server-url to the final address"}});
  } else {
    log({{"url", url_.shown}, {"status", status}});
  }
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
  for (const ForwardPtr& forward : open) fail(forward, forward->outcome(), shutting_down);
}

void Forwarder::destroy() {
  is_ended_ = true;
  open_.clear();
  waiting_.clear();
  idle_timer_.cancel();
  const std::vector<LinkPtr> links(links_.begin(), links_.end());
  for (const LinkPtr& link : links) link->close();
}

}  // namespace sidekick::host
