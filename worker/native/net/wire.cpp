#include "net/wire.hpp"

#include <algorithm>

namespace sidekick::host {

namespace {

constexpr std::size_t pieces_per_write_max = 64;

iovec as_iovec(const Buffer::Ptr& piece, std::size_t offset = 0) {
  return {piece->data() + offset, piece->size() - offset};
}

}  // namespace

void Wire::send(const Buffer::Ptr& frame) {
  if (is_closed_ || is_finishing()) return;
  const bool is_first = batch_ == nullptr;
  batch_ = loop_.add(batch_, frame);
  if (is_first) loop_.flush_later(shared_from_this());
}

void Wire::flush_turn() {
  if (const Batch* batch = take_turn()) write(*batch);
  // finish() was called in this turn, and no output is pending.
  if (is_finishing() && unsent_ == nullptr) drained();
}

void Wire::drop_turn() {
  if (batch_ == nullptr) return;
  batch_ = nullptr;
  is_finishing_ = false;  // the sending side stays open while output is pending
}

void Wire::write(const Batch& batch) {
  if (is_closed_) return;
  if (const Buffer::Ptr& whole = joined(batch)) return write(std::span(&whole, 1), batch.bytes);
  write(pieces_of(batch), batch.bytes);
}

void Wire::write(std::span<const Buffer::Ptr> pieces, std::size_t bytes) {
  std::size_t taken = 0;
  if (unsent_ == nullptr) {
    iovec vector[pieces_per_write_max];
    const std::size_t count = std::min(pieces.size(), pieces_per_write_max);
    for (std::size_t i = 0; i < count; ++i) vector[i] = as_iovec(pieces[i]);
    const IoResult result = stream_.write({vector, count});
    if (!count_written(result)) return;
    taken = result.bytes;
    if (taken == bytes) return drained();
  }
  for (const Buffer::Ptr& piece : pieces) {
    if (taken >= piece->size()) {
      taken -= piece->size();
    } else {
      keep(piece, taken);
      taken = 0;
    }
  }
  arm_write();
}

void Wire::keep(const Buffer::Ptr& piece, std::size_t offset) {
  if (unsent_ == nullptr) unsent_ = std::make_unique<Unsent>();
  if (unsent_->pieces.empty()) unsent_->offset = offset;
  unsent_->pieces.push_back(piece);
  unsent_->bytes += piece->size() - offset;
}

std::size_t Wire::unsent_share() const {
  std::size_t share = 0;
  if (unsent_ != nullptr) {
    for (const Buffer::Ptr& piece : unsent_->pieces) share += piece->share();
  }
  return share;
}

void Wire::arm_write() {
  if (is_write_armed_ || is_closed_) return;
  is_write_armed_ = true;
  stream_.wait_write([self = shared_from_this()](const ErrorCode& error) {
    self->is_write_armed_ = false;
    if (!error && !self->is_closed_) self->write_unsent();
  });
}

void Wire::write_unsent() {
  while (unsent_ != nullptr) {
    iovec vector[pieces_per_write_max];
    const std::size_t count = std::min(unsent_->pieces.size(), pieces_per_write_max);
    for (std::size_t i = 0; i < count; ++i)
      vector[i] = as_iovec(unsent_->pieces[i], i == 0 ? unsent_->offset : 0);
    const IoResult result = stream_.write({vector, count});
    if (!count_written(result)) return;
    if (result.state == Io::blocked) return arm_write();
    unsent_->bytes -= result.bytes;
    unsent_->offset += result.bytes;
    while (!unsent_->pieces.empty() && unsent_->offset >= unsent_->pieces.front()->size()) {
      unsent_->offset -= unsent_->pieces.front()->size();
      unsent_->pieces.pop_front();
    }
    if (unsent_->pieces.empty()) unsent_.reset();
  }
  drained();
}

bool Wire::count_written(IoResult result) {
  bytes_written_ += static_cast<unsigned>(result.bytes);
  if (result.state != Io::failed) return true;
  lost(stream_.error());
  return false;
}

void Wire::drained() {
  if (is_finishing() && batch_ == nullptr && !is_send_shut_) {
    is_send_shut_ = true;
    stream_.shut_send();
    if (is_peer_done_) return lost("both sides have closed");
  }
  on_drained();
}

void Wire::finish(std::chrono::milliseconds linger) {
  if (is_closed_ || is_finishing()) return;
  is_finishing_ = true;
  loop_.set_deadline(shared_from_this(), linger);
  if (!owes()) drained();
  arm_read();
}

void Wire::arm_read() {
  if (is_closed_ || is_read_armed_ || is_peer_done_ || !(is_finishing() || wants_bytes())) return;
  is_read_armed_ = true;
  stream_.wait_read([self = shared_from_this()](const ErrorCode& error) {
    self->is_read_armed_ = false;
    if (!error && !self->is_closed_) self->on_readable();
  });
}

void Wire::on_readable() {
  if (!is_finishing() && !wants_bytes()) return;
  if (loop_.must_end_turn()) return arm_read();
  auto& buffer = loop_.read_buffer();
  const IoResult result = stream_.read(buffer);
  switch (result.state) {
    case Io::done:
      bytes_read_ += static_cast<unsigned>(result.bytes);
      if (!is_finishing()) on_bytes({buffer.data(), result.bytes});
      break;
    case Io::blocked:
      break;
    case Io::ended:
      is_peer_done_ = true;
      if (is_finishing() && !owes()) return lost("both sides have closed");
      return is_finishing() ? void() : on_peer_ended();
    case Io::failed:
      return lost(stream_.error());
  }
  arm_read();
}

void Wire::keep_unfinished(std::size_t bytes) {
  if (is_closed_ || bytes == unfinished_bytes_) return;
  if (unfinished_bytes_ == 0) unfinished_place_ = loop_.begin_unfinished(*this);
  loop_.count_unfinished(bytes, unfinished_bytes_);
  unfinished_bytes_ = static_cast<std::uint32_t>(bytes);
  if (unfinished_bytes_ == 0) loop_.end_unfinished(unfinished_place_);
}

void Wire::lost(const std::string& why) {
  if (is_closed_) return;
  close();
  on_lost(why);
}

void Wire::close() {
  if (is_closed_) return;
  const auto self = shared_from_this();  // the deadline may hold the last reference to this object
  keep_unfinished(0);
  is_closed_ = true;
  batch_ = nullptr;
  unsent_.reset();
  loop_.clear_deadline(*this);
  stream_.close();
}

Stream Wire::release() {
  keep_unfinished(0);
  is_closed_ = true;
  loop_.clear_deadline(*this);
  return std::move(stream_);
}

}  // namespace sidekick::host
