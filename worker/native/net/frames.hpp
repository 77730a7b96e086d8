// The outbox of one turn of the event loop. A frame is built once for all its receivers. Sockets
// with the same pending frames share one chain of them, so that the bytes are joined once and not
// per socket. Knows no socket.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <new>
#include <string_view>
#include <vector>

#include <boost/smart_ptr/intrusive_ptr.hpp>

namespace sidekick::host {

/// Immutable bytes with a count of the writers that still need them. One allocation;
/// single-threaded. All of them together are the memory for output, but those that do not count.
class Buffer {
 public:
  using Ptr = boost::intrusive_ptr<Buffer>;

  enum class Counts : bool { no, yes };

  /// Space for `size` bytes, to be filled before it is shared.
  static Ptr allocate(std::size_t size, Counts counts = Counts::yes) {
    void* memory = std::malloc(sizeof(Buffer) + size);
    if (memory == nullptr) throw std::bad_alloc();
    if (counts == Counts::yes) bytes_in_use_ += size;
    return Ptr(new (memory) Buffer(size, counts));
  }
  static Ptr copy(std::string_view bytes, Counts counts = Counts::yes) {
    Ptr buffer = allocate(bytes.size(), counts);
    bytes.copy(buffer->data(),
               bytes.size());  // not memcpy, which must not get the null pointer of an empty text
    return buffer;
  }

  char* data() { return reinterpret_cast<char*>(this + 1); }
  std::size_t size() const { return size_; }
  std::string_view view() { return {data(), size_}; }

  /// Of all buffers that count.
  static std::size_t bytes_in_use() { return bytes_in_use_; }
  /// The part of this memory that one of its holders accounts for.
  std::size_t share() const { return size_ / references_; }

  friend void intrusive_ptr_add_ref(Buffer* buffer) { ++buffer->references_; }
  friend void intrusive_ptr_release(Buffer* buffer) {
    if (--buffer->references_ > 0) return;
    if (buffer->counts_ == Counts::yes) bytes_in_use_ -= buffer->size_;
    std::free(buffer);
  }

 private:
  Buffer(std::size_t size, Counts counts) : size_(size), counts_(counts) {}

  inline static std::size_t bytes_in_use_ = 0;

  std::size_t size_;
  std::uint32_t references_ = 0;
  Counts counts_;
};

/// One text message as a frame: final, opcode 1, not masked (RFC 6455, sections 5.1 and 5.2).
Buffer::Ptr text_frame(std::string_view text);

/// A control frame: opcode 8, 9 or 10, at most 125 bytes.
Buffer::Ptr control_frame(std::uint8_t opcode, std::string_view payload);

/// Frames in order, as a chain with shared prefixes: two sockets with the same frames have the same
/// Batch.
struct Batch {
  const Batch* before;
  Buffer::Ptr frame;
  std::size_t bytes;
  mutable const Batch* next = nullptr;  ///< the one requested last
  mutable Buffer::Ptr joined;
};

/// The batches of one turn; none outlives it.
class Batches {
 public:
  /// `batch` (or nothing) plus one frame. During a broadcast, repeated calls return the same
  /// object.
  const Batch* with(const Batch* batch, const Buffer::Ptr& frame);
  /// Drops all of them, and keeps some memory for the next turn.
  void clear();

 private:
  std::deque<Batch> all_{Batch{nullptr, nullptr, 0, nullptr, nullptr}};
};

/// The bytes to write as one piece; nothing if joining them costs more than writing pieces.
const Buffer::Ptr& joined(const Batch& batch);
/// The frames, in order.
std::vector<Buffer::Ptr> pieces_of(const Batch& batch);

}  // namespace sidekick::host
