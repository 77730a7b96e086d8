#include "net/stream.hpp"

#include <sys/socket.h>
#include <cerrno>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "errors.hpp"

namespace sidekick::host {

void Stream::start_tls(SSL_CTX& context) {
  ERR_clear_error();
  tls_.reset(SSL_new(&context));
  if (tls_ == nullptr || SSL_set_fd(tls_.get(), socket_.native_handle()) != 1)
    throw std::bad_alloc();
  // Buffers exist only during an operation: an idle socket has none. Pending output may move before
  // it is written.
  SSL_set_mode(tls_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                               SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // One read takes one TLS record, even an empty one, of which a peer may send any number.
  SSL_clear_mode(tls_.get(), SSL_MODE_AUTO_RETRY);
}

void Stream::accept_tls(SSL_CTX& context) {
  start_tls(context);
  SSL_set_accept_state(tls_.get());
}

bool Stream::connect_tls(SSL_CTX& context, const std::string& host) {
  start_tls(context);
  SSL_set_connect_state(tls_.get());
  ErrorCode is_name;
  asio::ip::make_address(host, is_name);
  if (is_name) {
    return SSL_set_tlsext_host_name(tls_.get(), host.c_str()) == 1 &&
           SSL_set1_host(tls_.get(), host.c_str()) == 1;
  }
  return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), host.c_str()) == 1;
}

IoResult Stream::failed(std::string why) {
  error_ = std::move(why);
  return {Io::failed};
}

IoResult Stream::tls_result(int result, bool& waits_for_other, int other_want) {
  const int system_error = errno;
  const int want = SSL_get_error(tls_.get(), result);
  waits_for_other = want == other_want;
  switch (want) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {Io::blocked};
    case SSL_ERROR_ZERO_RETURN:
      return {Io::ended};
    case SSL_ERROR_SYSCALL:
      return failed(system_error == 0 ? "the connection was closed without close_notify"
                                      : errno_text(system_error));
    default:
      break;
  }
  const unsigned long code = ERR_peek_last_error();
  if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    is_cut_ = true;
    return {Io::ended};
  }
  std::string why = "TLS: ";
  why += ERR_reason_error_string(code) != nullptr ? ERR_reason_error_string(code) : "unknown error";
  const long verified = SSL_get_verify_result(tls_.get());
  if (verified != X509_V_OK) why.append(": ").append(X509_verify_cert_error_string(verified));
  return failed(std::move(why));
}

IoResult Stream::read(std::span<char> into) {
  if (tls_ != nullptr) {
    ERR_clear_error();
    const int bytes = SSL_read(tls_.get(), into.data(), static_cast<int>(into.size()));
    if (bytes > 0) return {Io::done, static_cast<std::size_t>(bytes)};
    return tls_result(bytes, read_waits_for_write_, SSL_ERROR_WANT_WRITE);
  }
  for (;;) {
    const ssize_t bytes = ::recv(socket_.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
    if (bytes > 0) return {Io::done, static_cast<std::size_t>(bytes)};
    if (bytes == 0) return {Io::ended};
    if (errno == EAGAIN) return {Io::blocked};
    if (errno != EINTR) return failed(errno_text(errno));
  }
}

IoResult Stream::write(std::span<iovec> pieces) {
  if (tls_ != nullptr) {
    std::size_t written = 0;
    for (const iovec& piece : pieces) {
      for (std::size_t at = 0; at < piece.iov_len;) {
        ERR_clear_error();
        const int bytes = SSL_write(tls_.get(), static_cast<const char*>(piece.iov_base) + at,
                                    static_cast<int>(piece.iov_len - at));
        if (bytes <= 0) {
          const IoResult result = tls_result(bytes, write_waits_for_read_, SSL_ERROR_WANT_READ);
          return result.state == Io::blocked && written > 0 ? IoResult{Io::done, written} : result;
        }
        at += static_cast<std::size_t>(bytes);
        written += static_cast<std::size_t>(bytes);
      }
    }
    return {Io::done, written};
  }
  for (;;) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t bytes =
        pieces.size() == 1
            ? ::send(socket_.native_handle(), pieces[0].iov_base, pieces[0].iov_len,
                     MSG_DONTWAIT | MSG_NOSIGNAL)
            : ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (bytes >= 0) return {Io::done, static_cast<std::size_t>(bytes)};
    if (errno == EAGAIN) return {Io::blocked};
    if (errno != EINTR) return failed(errno_text(errno));
  }
}

void Stream::shut_send() {
  if (tls_ != nullptr) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());
  }
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void Stream::close() {
  ErrorCode ignored;
  socket_.close(ignored);
}

std::string Stream::remote_address() const {
  ErrorCode gone;
  const auto endpoint = socket_.remote_endpoint(gone);
  if (gone) return "unknown";
  return endpoint.address().to_string();
}

}  // namespace sidekick::host
