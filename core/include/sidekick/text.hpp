// Text under construction: a bump arena whose texts do not move until reset(). Holds what actions
// point to.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
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
  Part(const char* literal) : text(literal), number(literal_size) {}
  Part(Bytes bytes) : text(bytes.data() == nullptr ? "" : bytes.data()), number(bytes.size()) {}
  Part(u64 value) : text(nullptr), number(value) {}

  static constexpr u64 literal_size = ~u64{0};

  const char* text;
  u64 number;  ///< the size of the text if there is one
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

/// Appends the form with its parts. For error texts: the form stays readable, and one call per text
/// keeps the module small.
template <class... Parts>
void append_form(std::string& out, Form<std::type_identity_t<Parts>...> form,
                 const Parts&... parts) {
  const Part list[] = {Part(parts)..., Part("")};
  append_form(out, form.text, static_cast<const Part*>(list));
}

/// Builds one text at a time: append..., then finish(). Views returned by finish() are valid until
/// reset() or destruction.
class TextArena {
 public:
  TextArena& append(Bytes bytes);
  TextArena& append(
      const char* text);  // one argument word for a literal instead of two: keeps the module small
  TextArena& append_number(u64 number);

  /// Ends the text under construction and returns it.
  Bytes finish();

  /// Returns a finished copy of `bytes`.
  Bytes copy(Bytes bytes) { return append(bytes).finish(); }

  /// Returns a finished array of `count` words (client ids), 4-aligned.
  u32* words(u32 count);

  /// Discards all texts. Keeps one chunk of at most `kept_bytes_max`, so that an idle hub uses
  /// little memory.
  void reset();

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    u32 size = 0;
  };

  void grow(u64 needed);

  static constexpr u32 chunk_bytes_min = 4096;
  static constexpr u32 kept_bytes_max = 1u << 20;

  std::vector<Chunk> chunks_;
  u32 start_ = 0;  // of the text under construction, in the last chunk
  u32 at_ = 0;     // its end
};

}  // namespace sidekick
