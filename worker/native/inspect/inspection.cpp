#include "inspect/inspection.hpp"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/string.hpp>

#include "errors.hpp"

namespace sidekick::host {

namespace http = boost::beast::http;

namespace {

constexpr std::size_t readers_max = 8;
constexpr char refused[] =
    "refused: open the address that the server printed; its host must be localhost, an IP address "
    "of this machine or the host of --inspect\n";
/// Includes connections of strangers on this machine: each is an open file.
constexpr std::size_t connections_max = 64;
constexpr int connections_waiting_max = 64;
constexpr std::chrono::milliseconds sent_after{20};
constexpr std::chrono::milliseconds accept_retry{100};

std::string random_path() {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) throw StartError("the system provides no random bytes");
  constexpr char digits[] = "0123456789abcdef";
  std::string path = "/";
  for (const unsigned char byte : bytes) (path += digits[byte >> 4]) += digits[byte & 15];
  return path + "/";
}

std::string_view field(const InspectTaker::Request& request, http::field name) {
  const auto value = request[name];
  return {value.data(), value.size()};
}

struct Event {
  std::string text;
  u64 lines = 0;
};

/// Formats lines as one event, without hash lines: a hash covers all lines since the start of the
/// hub, and a reader does not have them.
Event event_of(Bytes lines) {
  Event event;
  event.text.reserve(lines.size() + lines.size() / 8);
  while (!lines.empty()) {
    const Bytes line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (line.empty() || line.starts_with("{\"hash\"")) continue;
    event.text.append("data: ").append(line).append("\n");
    ++event.lines;
  }
  event.text.append("\n");
  return event;
}

Buffer::Ptr buffer_of(const Event& event) { return Buffer::copy(event.text, Buffer::Counts::no); }

}  // namespace

Inspection::Inspection(Loop& loop, InspectAddress address, std::string page, Log& log)
    : loop_(loop),
      address_(std::move(address)),
      page_(std::move(page)),
      log_(log),
      path_(random_path()),
      acceptor_(loop.context().get_executor()),
      accept_retry_(loop.context().get_executor()),
      send_timer_(loop.context().get_executor()) {
  const Place place{"--inspect", "--inspect", address_.host, address_.port};
  ErrorCode error;
  const auto endpoints = resolve(loop_.context(), place);
  if (!bind(acceptor_, *endpoints.begin(), connections_waiting_max, false, error))
    refuse(place, error);
}

void Inspection::start(Inspected inspected) {
  inspected_ = std::move(inspected);
  accept();
}

std::string Inspection::url() const {
  const bool is_v6 = address_.host.find(':') != address_.host.npos;
  const std::string host = is_v6 ? "[" + address_.host + "]" : address_.host;
  return "http://" + host + ":" + std::to_string(port()) + path_;
}

void Inspection::close() {
  ErrorCode ignored;
  acceptor_.close(ignored);
  send();
  for (const auto& reader : std::vector(readers_)) reader->end();
}

// --- the trace ---

void Inspection::write(Bytes lines) {
  if (readers_.empty() || lines.empty()) return;
  const bool is_first = unsent_.empty();
  unsent_ += lines;
  if (!is_first) return;
  send_timer_.expires_after(sent_after);
  send_timer_.async_wait([this](const ErrorCode& stopped) {
    if (!stopped) send();
  });
}

void Inspection::send() {
  const Event event = event_of(std::exchange(unsent_, {}));
  if (event.lines == 0) return;
  const Buffer::Ptr buffer = buffer_of(event);
  for (const auto& reader : readers_) reader->tell(buffer, event.lines);
}

/// Sends the state: to a new reader, and after a gap.
void Inspection::catch_up(InspectSession& session) {
  send();  // the lines before it
  std::string lines;
  if (session.missed() > 0) lines = "{\"gap\":" + std::to_string(session.missed()) + "}\n";
  try {
    lines += inspected_.snapshot();
  } catch (const std::exception& error) {
    log_.error("the inspector cannot show the state", {{"error", error.what()}});
    return session.drop("there is no state");
  }
  session.catch_up(buffer_of(event_of(lines)));
  inspected_.align_timer();
}

// --- connections ---

void Inspection::accept() {
  acceptor_.async_accept([this](const ErrorCode& error, Socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!error) {
      accept();
      return take(std::move(socket));
    }
    log_.warn("the inspector cannot accept a connection", {{"error", errno_text(error.value())}});
    accept_retry_.expires_after(accept_retry);
    accept_retry_.async_wait([this](const ErrorCode& stopped) {
      if (!stopped && acceptor_.is_open()) accept();
    });
  });
}

void Inspection::take(Socket socket) {
  if (connections_ >= connections_max) return;  // closes it
  ErrorCode ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto session = std::make_shared<InspectSession>(loop_, Stream(std::move(socket)),
                                                        static_cast<InspectTaker&>(*this));
  ++connections_;
  session->start();
}

void Inspection::on_gone(InspectSession& session) {
  --connections_;
  std::erase_if(readers_, [&](const auto& reader) { return reader.get() == &session; });
}

void Inspection::on_request(InspectSession& session, const Request& request) {
  if (const unsigned status = refusal_of(request); status != 0)
    return session.respond(status, "text/plain", refused);
  if (request.target().ends_with("live")) return read(session);
  session.respond(200, "text/html; charset=utf-8", page_);
}

/// Rejects requests of a page of another site, even if its name resolves to this machine. Returns
/// the status of the rejection, or 0.
unsigned Inspection::refusal_of(const Request& request) const {
  const std::string_view host = field(request, http::field::host);
  if (!is_ours(host)) return 403;
  if (request.count(http::field::origin) > 0 &&
      field(request, http::field::origin) != "http://" + std::string(host))
    return 403;
  const auto site = request.find("Sec-Fetch-Site");
  if (site != request.end() && site->value() != "same-origin" && site->value() != "none")
    return 403;
  const std::string target(request.target());
  std::string given = target.substr(0, path_.size());
  given.resize(path_.size());
  if (CRYPTO_memcmp(given.data(), path_.data(), path_.size()) != 0) return 404;
  const std::string rest = target.substr(path_.size());
  if (!rest.empty() && rest != "live") return 404;
  return request.method() == http::verb::get ? 0 : 405;
}

/// Addresses cannot be rebound to another machine, names can.
bool Inspection::is_ours(std::string_view host) const {
  const auto [name, digits] = split_host(host);
  if (name.empty() || parse_port(digits.empty() ? "80" : digits) != port()) return false;
  ErrorCode is_name;
  asio::ip::make_address(name, is_name);
  using boost::beast::iequals;  // browsers send names in lower case
  return !is_name || iequals(name, "localhost") || iequals(name, address_.host);
}

void Inspection::read(InspectSession& session) {
  if (readers_.size() >= readers_max)
    return session.respond(
        503, "text/plain",
        "expected at most " + std::to_string(readers_max) + " open pages; close one\n");
  session.begin_events();
  send();  // the lines before it are not for the new reader
  readers_.push_back(std::static_pointer_cast<InspectSession>(session.shared_from_this()));
  catch_up(session);
}

}  // namespace sidekick::host
