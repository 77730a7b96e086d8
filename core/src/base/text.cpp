#include "sidekick/text.hpp"

#include <algorithm>

#include "ion/writer.hpp"

namespace sidekick {

Digits::Digits(u64 number) {
  char* const end = digits_ + sizeof digits_;
  char* at = end;
  while (number >= 10) {  // two at a time: every message to a client that said hello has a stamp
    const u64 rest = number / 100;
    const u32 pair = static_cast<u32>(number - rest * 100);
    *--at = static_cast<char>('0' + pair % 10);
    *--at = static_cast<char>('0' + pair / 10);
    number = rest;
  }
  if (number != 0 || at == end) *--at = static_cast<char>('0' + number);
  at_ = static_cast<u32>(at - digits_);
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
    if (part.is_number) {
      out += Digits(part.number);
      continue;
    }
    const Bytes text = part.text;
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

[[gnu::noinline]] TextArena& TextArena::write(std::initializer_list<Bytes> parts) {
  for (const Bytes part : parts) append(part);
  return *this;
}

u32* TextArena::words(u32 count) {
  SIDEKICK_CHECK(start_ == at_);
  constexpr std::size_t padding_max = 3;
  const u64 size = static_cast<u64>(count) * 4;
  if (size + padding_max > static_cast<std::size_t>(end_ - at_)) grow(size + padding_max);
  at_ += -reinterpret_cast<std::uintptr_t>(at_) & padding_max;
  u32* words = reinterpret_cast<u32*>(at_);
  at_ += size;
  start_ = at_;
  return words;
}

/// Starts a chunk with room for the text under construction and `needed` more bytes, and moves that
/// text to it.
void TextArena::grow(u64 needed) {
  const Bytes partial(start_, static_cast<std::size_t>(at_ - start_));
  u64 size = chunks_.empty() ? chunk_bytes_min : static_cast<u64>(chunks_.back().size) * 2;
  while (size < partial.size() + needed) size *= 2;
  SIDEKICK_CHECK(size <= (1u << 31));
  Chunk chunk;
  chunk.bytes = std::unique_ptr<char[]>(new char[size]);
  chunk.size = static_cast<u32>(size);
  use(chunk);
  append(partial);
  chunks_.push_back(std::move(chunk));
}

}  // namespace sidekick
