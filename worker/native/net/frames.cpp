#include "net/frames.hpp"

#include <algorithm>

namespace sidekick::host {

namespace {

constexpr std::size_t joined_bytes_max =
    256 * 1024;  // beyond this, a vectored write costs less than a copy

}  // namespace

Buffer::Ptr text_frame(std::string_view text) {
  const std::uint64_t size = text.size();
  const std::size_t header = size < 126 ? 2 : size < 65536 ? 4 : 10;
  Buffer::Ptr frame = Buffer::allocate(header + text.size());
  auto* at = reinterpret_cast<std::uint8_t*>(frame->data());
  at[0] = 0x81;
  at[1] = static_cast<std::uint8_t>(header == 2 ? size : header == 4 ? 126 : 127);
  for (std::size_t i = 2; i < header; ++i)
    at[i] = static_cast<std::uint8_t>(size >> (8 * (header - 1 - i)));
  text.copy(frame->data() + header, text.size());
  return frame;
}

Buffer::Ptr control_frame(std::uint8_t opcode, std::string_view payload) {
  Buffer::Ptr frame = Buffer::allocate(2 + payload.size());
  frame->data()[0] = static_cast<char>(0x80 | opcode);
  frame->data()[1] = static_cast<char>(payload.size());
  payload.copy(frame->data() + 2, payload.size());
  return frame;
}

const Batch* Batches::with(const Batch* batch, const Buffer::Ptr& frame) {
  const Batch& before = batch != nullptr ? *batch : all_.front();
  if (before.next == nullptr || before.next->frame != frame) {
    before.next =
        &all_.emplace_back(Batch{&before, frame, before.bytes + frame->size(), nullptr, nullptr});
  }
  return before.next;
}

void Batches::clear() {
  all_.erase(all_.begin() + 1, all_.end());
  all_.front().next = nullptr;
}

const Buffer::Ptr& joined(const Batch& batch) {
  if (batch.joined != nullptr || batch.bytes > joined_bytes_max) return batch.joined;
  if (batch.before->frame == nullptr) return batch.joined = batch.frame;
  batch.joined = Buffer::allocate(batch.bytes);
  char* end = batch.joined->data() + batch.bytes;
  for (const Batch* at = &batch; at->frame != nullptr; at = at->before) {
    end -= at->frame->size();
    at->frame->view().copy(end, at->frame->size());
  }
  return batch.joined;
}

std::vector<Buffer::Ptr> pieces_of(const Batch& batch) {
  std::vector<Buffer::Ptr> pieces;
  for (const Batch* at = &batch; at->frame != nullptr; at = at->before) pieces.push_back(at->frame);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace sidekick::host
