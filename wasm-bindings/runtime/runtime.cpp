// Replaces parts of the C++ runtime that would need imports or much code: terminating the program
// without streams, for example. With these the module imports nothing; the build checks that.
#include <cstddef>

#include "sidekick/base.hpp"

namespace {

using u64 = unsigned long long;
using Block = unsigned char __attribute__((vector_size(16)));

template <class T>
struct __attribute__((packed, may_alias)) Unaligned {
  T value;
};
template <class T>
T load(const unsigned char* at) {
  return reinterpret_cast<const Unaligned<T>*>(at)->value;
}
template <class T>
void store(unsigned char* at, T value) {
  reinterpret_cast<Unaligned<T>*>(at)->value = value;
}

/// Copies n to 2n bytes, n being the size of T. Loads before it stores: the two may overlap.
template <class T>
void copy_ends(unsigned char* out, const unsigned char* in, std::size_t size) {
  const T first = load<T>(in);
  const T last = load<T>(in + size - sizeof(T));
  store(out, first);
  store(out + size - sizeof(T), last);
}

u64 big_endian(u64 value) { return __builtin_bswap64(value); }
unsigned big_endian(unsigned value) { return __builtin_bswap32(value); }

/// memcmp of as many bytes as T has.
template <class T>
int compare(const unsigned char* a, const unsigned char* b) {
  const T x = load<T>(a);
  const T y = load<T>(b);
  if (x == y) return 0;
  return big_endian(x) < big_endian(y) ? -1 : 1;
}

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
  if (size > 32) {
    const Block second = load<Block>(in + 16);
    const Block third = load<Block>(in + size - 32);
    copy_ends<Block>(out, in, size);
    store(out + 16, second);
    store(out + size - 32, third);
  } else if (size >= 16) {
    copy_ends<Block>(out, in, size);
  } else if (size >= 8) {
    copy_ends<u64>(out, in, size);
  } else if (size >= 4) {
    copy_ends<unsigned>(out, in, size);
  } else if (size > 0) {
    const unsigned char middle = in[size / 2];
    copy_ends<unsigned char>(out, in, size);
    out[size / 2] = middle;
  }
  return to;
}
void* memcpy(void* to, const void* from, std::size_t size) { return memmove(to, from, size); }

// The C libraries compare byte by byte. The last block may overlap the one before, which is equal.
int memcmp(const void* left, const void* right, std::size_t size) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  if (size >= 8) {
    for (; size > 8; size -= 8, a += 8, b += 8)
      if (const int order = compare<u64>(a, b)) return order;
    return compare<u64>(a + size - 8, b + size - 8);
  }
  if (size >= 4) {
    const int order = compare<unsigned>(a, b);
    return order != 0 ? order : compare<unsigned>(a + size - 4, b + size - 4);
  }
  for (; size > 0; --size, ++a, ++b) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}

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
