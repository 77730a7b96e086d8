// Replaces parts of the C++ runtime that would need imports or much code: terminating the program
// without streams, for example. With these the module imports nothing; the build checks that.
#include <cstddef>

#include "sidekick/base.hpp"

namespace {
struct __attribute__((packed, may_alias)) Word {
  unsigned long long bytes;
};
}  // namespace

extern "C" {
void abort() { sidekick::trap(); }
[[noreturn]] void __cxa_pure_virtual() { sidekick::trap(); }

// Nothing is destroyed at exit: an instance is dropped as a whole.
int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }

// Most copies are a few dozen bytes. For these, memory.copy is slow, because engines call out of
// the module for it; for large copies it is fastest.
void* memmove(void* to, const void* from, std::size_t size) {
  auto* out = static_cast<unsigned char*>(to);
  const auto* in = static_cast<const unsigned char*>(from);
  constexpr std::size_t small_bytes_max = 64;
  if (size > small_bytes_max)
    return __builtin_memmove(to, from, size);  // one instruction with -mbulk-memory
  if (out <= in) {
    for (; size >= 8; size -= 8, out += 8, in += 8)
      *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(in);
    for (; size > 0; --size) *out++ = *in++;
  } else {
    for (; size >= 8; size -= 8)
      *reinterpret_cast<Word*>(out + size - 8) = *reinterpret_cast<const Word*>(in + size - 8);
    for (; size > 0; --size) out[size - 1] = in[size - 1];
  }
  return to;
}
int memcmp(const void* left, const void* right, std::size_t size) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  // The C libraries compare byte by byte.
  for (; size >= 8; size -= 8, a += 8, b += 8) {
    if (reinterpret_cast<const Word*>(a)->bytes != reinterpret_cast<const Word*>(b)->bytes) break;
  }
  for (; size > 0; --size, ++a, ++b) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}
void* memcpy(void* to, const void* from, std::size_t size) { return memmove(to, from, size); }

#if defined(__EMSCRIPTEN__)
// Emscripten's own versions would report memory growth to JavaScript, or ask it for the time:
// imports. Nothing here calls them (allocator.cpp grows the memory), but its libraries refer to
// them.
double emscripten_get_now() { sidekick::trap(); }
int emscripten_resize_heap(std::size_t) { sidekick::trap(); }
std::size_t emscripten_get_heap_max() { sidekick::trap(); }
void emscripten_memcpy_big(void* to, const void* from, std::size_t size) {
  __builtin_memcpy(to, from, size);
}  // memory.copy
#endif
}

// libc++ puts its versions into an inline namespace.
namespace std {
inline namespace _LIBCPP_ABI_NAMESPACE {
[[noreturn]] void __libcpp_verbose_abort(const char*, ...) { sidekick::trap(); }
}  // namespace _LIBCPP_ABI_NAMESPACE
}  // namespace std
