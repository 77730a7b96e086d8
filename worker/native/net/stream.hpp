// One TCP connection, plain or TLS, never blocking: reads and writes what is possible at once, and
// waits for readiness. Owns the socket; knows nothing of the protocol on it.
#pragma once

#include <sys/uio.h>
#include <memory>
#include <span>
#include <string>

#include <openssl/ssl.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

namespace sidekick::host {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;

enum class Io : unsigned char {
  done,     ///< some bytes were transferred
  blocked,  ///< nothing now: wait
  ended,    ///< the peer has closed its sending side
  failed,   ///< the connection is closed; error() says why
};

struct IoResult {
  Io state;
  std::size_t bytes = 0;
};

class Stream {
 public:
  explicit Stream(Socket socket) : socket_(std::move(socket)) {}

  /// From now on everything is encrypted; the handshake happens within the first reads and writes.
  void accept_tls(SSL_CTX& context);
  /// host: the name that the peer's certificate must be valid for. Returns false if that cannot be
  /// verified: then nothing may be sent.
  [[nodiscard]] bool connect_tls(SSL_CTX& context, const std::string& host);

  IoResult read(std::span<char> into);
  IoResult write(std::span<iovec> pieces);
  const std::string& error() const { return error_; }
  /// The peer closed the connection without close_notify: an attacker may have done so.
  bool is_cut() const { return is_cut_; }

  /// Calls `handler` once a read (write) may make progress; with an error if the stream is closed
  /// first.
  template <class Handler>
  void wait_read(Handler handler) {
    // Bytes readable without the network. Not SSL_has_pending(), which also counts a partial
    // record: that would be a busy loop.
    if (tls_ != nullptr && SSL_pending(tls_.get()) > 0)
      return asio::post(socket_.get_executor(), [handler] { handler(ErrorCode{}); });
    socket_.async_wait(read_waits_for_write_ ? Socket::wait_write : Socket::wait_read,
                       std::move(handler));
  }
  template <class Handler>
  void wait_write(Handler handler) {
    socket_.async_wait(write_waits_for_read_ ? Socket::wait_read : Socket::wait_write,
                       std::move(handler));
  }

  /// Closes the sending side; the peer may still send.
  void shut_send();
  void close();

  Socket& socket() { return socket_; }
  std::string remote_address() const;

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  void start_tls(SSL_CTX& context);
  IoResult tls_result(int result, bool& waits_for_other, int other_want);
  IoResult failed(std::string why);

  Socket socket_;
  std::unique_ptr<SSL, FreeSsl> tls_;
  bool read_waits_for_write_ = false;
  bool write_waits_for_read_ = false;
  bool is_cut_ = false;
  std::string error_;
};

}  // namespace sidekick::host
