#include "net/connect.hpp"

#include "errors.hpp"

namespace sidekick::host {

namespace {

/// RFC 8305 section 5: after this time the next address is tried beside the earlier ones.
constexpr std::chrono::milliseconds next_address_time{250};

std::string error_text(const std::string& what, const ErrorCode& error) {
  const bool is_system = error.category() == boost::system::system_category();
  return what + " " + (is_system ? errno_text(error.value()) : error.message());
}

}  // namespace

Connecting::Connecting(Loop& loop, unsigned& lookups)
    : loop_(loop),
      lookups_(lookups),
      resolver_(loop.context().get_executor()),
      timer_(loop.context().get_executor()) {}

void Connecting::start(const std::string& host, const std::string& port, OnConnect on_connect,
                       OnFail on_fail) {
  on_connect_ = std::move(on_connect);
  on_fail_ = std::move(on_fail);
  ++lookups_;
  resolver_.async_resolve(host, port,
                          [self = shared_from_this()](const ErrorCode& error, const auto& found) {
                            --self->lookups_;
                            if (self->on_fail_ == nullptr) return;
                            if (error) return self->fail(error_text("resolving the name:", error));
                            for (const auto& entry : found)
                              self->endpoints_.push_back(entry.endpoint());
                            if (self->endpoints_.empty())
                              return self->fail("the name has no address");
                            self->try_next();
                          });
}

void Connecting::cancel() {
  on_connect_ = nullptr;
  on_fail_ = nullptr;
  resolver_.cancel();
  timer_.cancel();
  attempts_.clear();  // closes their sockets
}

void Connecting::try_next() {
  timer_.cancel();
  if (endpoints_.empty()) return;
  const auto endpoint = endpoints_.front();
  endpoints_.pop_front();
  const auto attempt = std::make_shared<Attempt>(loop_);
  attempts_.push_back(attempt);
  attempt->socket.async_connect(
      endpoint,
      [self = shared_from_this(), attempt = std::weak_ptr(attempt), endpoint](const ErrorCode& e) {
        if (const auto it = attempt.lock()) self->on_tried(it, endpoint, e);
      });
  if (endpoints_.empty()) return;
  timer_.expires_after(next_address_time);
  timer_.async_wait([self = shared_from_this()](const ErrorCode& stopped) {
    if (!stopped && self->on_fail_ != nullptr) self->try_next();
  });
}

void Connecting::on_tried(const std::shared_ptr<Attempt>& attempt,
                          const asio::ip::tcp::endpoint& endpoint, const ErrorCode& error) {
  if (on_fail_ == nullptr) return;
  std::erase(attempts_, attempt);
  if (!error) {
    const OnConnect connected = std::move(on_connect_);
    cancel();
    return connected(std::move(attempt->socket));
  }
  if (!endpoints_.empty()) return try_next();
  if (attempts_.empty())
    fail(error_text("connect", error) + " " + endpoint.address().to_string() + ":" +
         std::to_string(endpoint.port()));
}

void Connecting::fail(const std::string& why) {
  const OnFail failed = std::move(on_fail_);
  cancel();
  failed(why);
}

}  // namespace sidekick::host
