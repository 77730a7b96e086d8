// Allocation for C++: a heap over the module's memory, which traps when memory is exhausted (the
// host then drops the instance and restores another from the records).
#include <cstddef>
#include <new>

#include "heap.hpp"

extern "C" char __heap_base;  // from the linker: the end of data and stack

namespace {

struct ModuleMemory {
  static constexpr sidekick::u32 page = 65536;

  static char* at(sidekick::u32 address) { return reinterpret_cast<char*>(address); }
  static sidekick::u32 begin() { return reinterpret_cast<sidekick::u32>(&__heap_base); }
  static sidekick::u32 end() { return __builtin_wasm_memory_size(0) * page; }
  static bool grow(sidekick::u32 bytes) {
    // A quarter more than the current size, so that a growing hub does not need a memory.grow for
    // every few tokens; if that fails, only the requested size.
    const sidekick::u32 needed = (bytes + page - 1) / page;
    const sidekick::u32 wanted = needed + __builtin_wasm_memory_size(0) / 4;
    return __builtin_wasm_memory_grow(0, wanted) != ~0ul ||
           __builtin_wasm_memory_grow(0, needed) != ~0ul;
  }
};

constinit sidekick::Heap<ModuleMemory> heap;

}  // namespace

void* operator new(std::size_t size) {
  void* memory = heap.allocate(size);
  if (memory == nullptr) sidekick::trap();
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) heap.release(memory);
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { operator delete(memory); }
// Required by libc++, but nothing of ours is aligned to more than 16.
void* operator new(std::size_t size, std::align_val_t alignment) {
  SIDEKICK_CHECK(static_cast<std::size_t>(alignment) <= 16);
  return operator new(size);
}
void operator delete(void* memory, std::align_val_t) noexcept { operator delete(memory); }
