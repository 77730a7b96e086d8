#include "sidekick/text.hpp"

#include <algorithm>
#include <cstring>

#include "ion/writer.hpp"

namespace sidekick {

Digits::Digits(u64 number) {
  do {
    digits_[--at_] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
}

std::string compose(std::initializer_list<Bytes> parts) {
  std::string text;
  for (const Bytes part : parts) text.append(part);
  return text;
}

void append_form(std::string& out, const char* form, const Part* parts) {
  constexpr std::size_t shown_max = 64;
  for (; *form != '\0'; ++form) {
    const bool is_strangers = *form == '$';
    if (!is_strangers && *form != '%') {
      out += *form;
      continue;
    }
    const Part& part = *parts++;
    if (part.text == nullptr) {
      out += Digits(part.number);
      continue;
    }
    const Bytes text = part.number == Part::literal_size
                           ? Bytes(part.text)
                           : Bytes(part.text, static_cast<std::size_t>(part.number));
    if (!is_strangers) {
      out += text;
      continue;
    }
    std::size_t size = std::min(text.size(), shown_max);
    while (size < text.size() && size > 0 && (static_cast<u8>(text[size]) & 0xC0) == 0x80)
      --size;                                       // do not split a character
    ion::append_string(out, text.substr(0, size));  // escaped: the text may end up in a log
    if (size < text.size()) out += "...";
  }
}

TextArena& TextArena::append(Bytes bytes) {
  if (chunks_.empty() || chunks_.back().size - at_ < bytes.size()) grow(bytes.size());
  if (!bytes.empty()) std::memcpy(chunks_.back().bytes.get() + at_, bytes.data(), bytes.size());
  at_ += static_cast<u32>(bytes.size());
  return *this;
}

TextArena& TextArena::append(const char* text) { return append(Bytes(text)); }

TextArena& TextArena::append_number(u64 number) { return append(Digits(number)); }

Bytes TextArena::finish() {
  if (start_ == at_) return {};
  const Bytes text(chunks_.back().bytes.get() + start_, at_ - start_);
  start_ = at_;
  return text;
}

u32* TextArena::words(u32 count) {
  SIDEKICK_CHECK(start_ == at_);
  const u64 size = static_cast<u64>(count) * 4 + 3;
  if (chunks_.empty() || chunks_.back().size - at_ < size) grow(size);
  const u32 padding = (4 - (at_ & 3)) & 3;
  char* address = chunks_.back().bytes.get() + at_ + padding;
  at_ += padding + count * 4;
  start_ = at_;
  return reinterpret_cast<u32*>(address);
}

void TextArena::reset() {
  start_ = at_ = 0;
  if (chunks_.size() > 1) {
    // The last chunk is the largest.
    chunks_.front() = std::move(chunks_.back());
    while (chunks_.size() > 1) chunks_.pop_back();
  }
  if (!chunks_.empty() && chunks_.front().size > kept_bytes_max) chunks_.clear();
}

/// Starts a chunk with room for the text under construction and `needed` more bytes, and moves that
/// text to it.
void TextArena::grow(u64 needed) {
  const u32 partial = at_ - start_;
  u64 size = chunks_.empty() ? chunk_bytes_min : static_cast<u64>(chunks_.back().size) * 2;
  while (size < partial + needed) size *= 2;
  SIDEKICK_CHECK(size <= (1u << 31));
  Chunk chunk;
  chunk.bytes = std::unique_ptr<char[]>(new char[size]);
  chunk.size = static_cast<u32>(size);
  if (partial != 0) std::memcpy(chunk.bytes.get(), chunks_.back().bytes.get() + start_, partial);
  chunks_.push_back(std::move(chunk));
  start_ = 0;
  at_ = partial;
}

}  // namespace sidekick
