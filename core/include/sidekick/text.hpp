// Text under construction: a bump arena whose texts do not move until reset(). Holds what actions
// point to.
#pragma once

#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick {

/// A number as decimal digits, for use as a part of compose().
class Digits {
 public:
  explicit Digits(u64 number);
  operator Bytes() const { return Bytes(digits_ + at_, sizeof digits_ - at_); }

 private:
  char digits_[20];
  u32 at_ = sizeof digits_;
};

/// Concatenates the parts.
std::string compose(std::initializer_list<Bytes> parts);

/// The value for a placeholder of a Form: a text, or a number that is written in decimal. The bytes
/// belong to the caller.
struct Part {
  Part(Bytes bytes) : text(bytes) {}
  Part(u64 value) : number(value), is_number(true) {}

  Bytes text;
  u64 number = 0;
  bool is_number = false;
};

/// A text with one placeholder per part: `%` is replaced verbatim, `$` by a quoted and truncated
/// text from a peer. A mismatch between placeholders and parts does not compile.
template <class... Parts>
struct Form {
  consteval Form(const char* form) : text(form) {
    std::size_t count = 0;
    for (; *form != '\0'; ++form) count += *form == '%' || *form == '$';
    if (count != sizeof...(Parts)) trap();
  }
  const char* text;
};

void append_form(std::string& out, const char* form, const Part* parts);

/// Appends the form with its parts. For error texts: the source shows each one as a peer reads it,
/// the compiler counts the parts, and `$` is the only way to quote a text from a peer. std::format
/// would do, but GCC 12 and the libc++ of Emscripten 3.1.6 do not have it.
template <class... Parts>
void append_form(std::string& out, Form<std::type_identity_t<Parts>...> form,
                 const Parts&... parts) {
  const Part list[] = {Part(parts)..., Part(u64{0})};
  append_form(out, form.text, static_cast<const Part*>(list));
}

/// Builds one text at a time: append..., then finish(). Views returned by finish() are valid until
/// reset() or destruction.
class TextArena {
 public:
  TextArena() = default;
  TextArena(TextArena&& from) noexcept { *this = std::move(from); }
  TextArena& operator=(TextArena&& from) noexcept {
    chunks_ = std::move(from.chunks_);
    start_ = std::exchange(from.start_, nullptr);
    at_ = std::exchange(from.at_, nullptr);
    end_ = std::exchange(from.end_, nullptr);
    return *this;
  }

  TextArena& append(Bytes bytes) {
    if (bytes.size() > static_cast<std::size_t>(end_ - at_)) grow(bytes.size());
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
    return *this;
  }
  TextArena& append_number(u64 number) { return append(Digits(number)); }

  /// The same out of line, for texts that are rare: append() adds 100 bytes to the module each
  /// time.
  TextArena& write(std::initializer_list<Bytes> parts);

  /// Ends the text under construction and returns it.
  Bytes finish() {
    const Bytes text(start_, static_cast<std::size_t>(at_ - start_));
    start_ = at_;
    return text;
  }

  /// Returns a finished copy of `bytes`.
  Bytes copy(Bytes bytes) { return append(bytes).finish(); }

  /// Returns a finished array of `count` words (client ids), 4-aligned.
  u32* words(u32 count);

  /// Discards all texts. Keeps one chunk of at most `kept_bytes_max`, so that an idle hub uses
  /// little memory.
  void reset() {
    if (chunks_.empty()) return;
    if (chunks_.size() > 1) {
      // The last chunk is the largest.
      chunks_.front() = std::move(chunks_.back());
      while (chunks_.size() > 1) chunks_.pop_back();
    }
    if (chunks_.front().size > kept_bytes_max) {
      chunks_.clear();
      start_ = at_ = end_ = nullptr;
      return;
    }
    use(chunks_.front());
  }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    u32 size = 0;
  };

  void grow(u64 needed);
  /// Makes an empty chunk the one that is written to.
  void use(const Chunk& chunk) {
    start_ = at_ = chunk.bytes.get();
    end_ = start_ + chunk.size;
  }

  static constexpr u32 chunk_bytes_min = 4096;
  static constexpr u32 kept_bytes_max = 1u << 20;

  std::vector<Chunk> chunks_;
  // In the last chunk; all three are null while there is none.
  char* start_ = nullptr;  // of the text under construction
  char* at_ = nullptr;     // its end
  char* end_ = nullptr;    // of the chunk
};

}  // namespace sidekick
