#include "engine/redis_link.hpp"

#include <utility>
#include <vector>

namespace sidekick::host {

void RedisLink::start(const std::string& host, const std::string& port, SSL_CTX* tls,
                      OnReply on_reply, OnLost on_lost) {
  on_reply_ = std::move(on_reply);
  on_lost_ = std::move(on_lost);
  connecting_ = std::make_shared<Connecting>(loop_, lookups_);
  const auto self = shared_from_this();
  connecting_->start(
      host, port,
      [self, tls, host](Socket socket) { self->on_connected(std::move(socket), tls, host); },
      [self](const std::string& why) { self->lost(why); });
}

void RedisLink::on_connected(Socket socket, SSL_CTX* tls, const std::string& host) {
  connecting_ = nullptr;
  ErrorCode ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  stream_.emplace(std::move(socket));
  if (tls != nullptr && !stream_->connect_tls(*tls, host)) return lost("TLS cannot be set up");
  wait_read();
  flush();
}

void RedisLink::send(std::span<const std::string_view> words) {
  if (is_closed_) return;
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string_view word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* command = nullptr;
  const int size =
      redisFormatCommandArgv(&command, static_cast<int>(words.size()), texts.data(), sizes.data());
  if (size < 0) throw std::bad_alloc();
  unsent_.append(command, static_cast<std::size_t>(size));
  redisFreeCommand(command);
  if (is_flushing_ || !stream_) return;
  is_flushing_ = true;
  asio::post(loop_.context(), [self = shared_from_this()] { self->flush(); });
}

void RedisLink::flush() {
  is_flushing_ = false;
  std::size_t sent = 0;
  while (!is_closed_ && sent < unsent_.size()) {
    iovec piece{unsent_.data() + sent, unsent_.size() - sent};
    const IoResult result = stream_->write({&piece, 1});
    if (result.state == Io::failed) return lost(stream_->error());
    if (result.state == Io::ended) return lost("the server closed the connection");
    sent += result.bytes;
    if (result.state != Io::blocked) continue;
    is_flushing_ = true;
    stream_->wait_write([self = shared_from_this()](const ErrorCode& error) {
      if (!error) self->flush();
    });
    break;
  }
  unsent_.erase(0, sent);
}

void RedisLink::wait_read() {
  stream_->wait_read([self = shared_from_this()](const ErrorCode& error) {
    if (!error && !self->is_closed_) self->on_readable();
  });
}

void RedisLink::on_readable() {
  auto& buffer = loop_.read_buffer();
  const IoResult result = stream_->read(buffer);
  switch (result.state) {
    case Io::done:
      if (redisReaderFeed(reader_.get(), buffer.data(), result.bytes) != REDIS_OK)
        return lost_by_format();
      take_replies();
      break;
    case Io::blocked:
      break;
    case Io::ended:
      return lost("the server closed the connection");
    case Io::failed:
      return lost(stream_->error());
  }
  if (!is_closed_) wait_read();
}

void RedisLink::take_replies() {
  while (!is_closed_) {
    void* taken = nullptr;
    if (redisReaderGetReply(reader_.get(), &taken) != REDIS_OK) return lost_by_format();
    const std::unique_ptr<redisReply, FreeReply> reply(static_cast<redisReply*>(taken));
    if (reply == nullptr) return;
    on_reply_(*reply);
  }
}

void RedisLink::lost_by_format() {
  lost(std::string("expected the protocol of Redis: ") + reader_->errstr);
}

void RedisLink::lost(const std::string& why) {
  if (is_closed_) return;
  const OnLost on_lost = std::move(on_lost_);
  close();
  on_lost(why);
}

void RedisLink::close() {
  if (std::exchange(is_closed_, true)) return;
  if (connecting_ != nullptr) connecting_->cancel();
  if (stream_) stream_->close();
}

}  // namespace sidekick::host
