// Text under construction: a bump arena whose texts stay where they are until reset(). Holds what
// actions point to.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick {

/// A number as its decimal digits, to stand among the parts of compose().
class Digits {
 public:
  explicit Digits(u64 number);
  operator Bytes() const { return Bytes(digits_ + at_, sizeof digits_ - at_); }

 private:
  char digits_[20];
  u32 at_ = sizeof digits_;
};

/// The parts one after the other.
std::string compose(std::initializer_list<Bytes> parts);

/// What stands for a placeholder of a Form: a text, or a number as its decimal digits. The bytes
/// belong to the caller.
struct Part {
  Part(const char* literal) : text(literal), number(literal_size) {}
  Part(Bytes bytes) : text(bytes.data() == nullptr ? "" : bytes.data()), number(bytes.size()) {}
  Part(u64 value) : text(nullptr), number(value) {}

  static constexpr u64 literal_size = ~u64{0};

  const char* text;
  u64 number;  ///< the text's size where there is one
};

/// A text with a placeholder for each part: `%` for what is written as it is, `$` for a stranger's
/// text, which is put in quotes and cut where it gets long. One with another number of placeholders
/// than there are parts does not compile.
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

/// Appends the form with its parts. For error texts: they read as they are said, and one call for
/// each keeps the module small.
template <class... Parts>
void append_form(std::string& out, Form<std::type_identity_t<Parts>...> form,
                 const Parts&... parts) {
  const Part list[] = {Part(parts)..., Part("")};
  append_form(out, form.text, static_cast<const Part*>(list));
}

/// Builds one text at a time: append..., then finish(). Views given by finish() are valid until
/// reset() or destruction.
class TextArena {
 public:
  TextArena& append(Bytes bytes);
  TextArena& append(const char* text);  // a literal is one word to pass instead of two: this keeps
                                        // the module small
  TextArena& append_number(u64 number);

  /// Ends the text under construction and returns it.
  Bytes finish();

  /// A finished copy of `bytes`.
  Bytes copy(Bytes bytes) { return append(bytes).finish(); }

  /// A finished array of words (client ids), 4-aligned.
  u32* words(u32 count);

  /// Forgets every text. Keeps one chunk of at most `kept_bytes_max`, so that a quiet hub holds
  /// little.
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
