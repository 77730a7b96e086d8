// Exposes the raw module's heap (allocator.cpp) under the names that the generated code and a
// component's callers use.
#include <cstddef>
#include <cstring>
#include <new>

#include "sidekick/base.hpp"

extern "C" {
void* malloc(std::size_t size) { return operator new(size); }
void free(void* memory) { operator delete(memory); }

// Replaces the generated one, which is weak and does not pass the old size on: our heap has no
// realloc.
__attribute__((export_name("cabi_realloc"))) void* cabi_realloc(void* old, std::size_t old_size,
                                                                std::size_t alignment,
                                                                std::size_t size) {
  SIDEKICK_CHECK(alignment <= 16);
  if (size == 0) return reinterpret_cast<void*>(alignment);
  void* memory = operator new(size);
  if (old_size > 0) {
    std::memcpy(memory, old, old_size < size ? old_size : size);
    operator delete(old);
  }
  return memory;
}
void* realloc(void*, std::size_t) { sidekick::trap(); }
}
