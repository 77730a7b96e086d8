#include "memory.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace {

long long* account = nullptr;  // one thread

void* take(std::size_t size) {
  void* taken = std::malloc(size != 0 ? size : 1);
  if (taken == nullptr) sidekick::trap();
  if (account != nullptr) *account += static_cast<long long>(malloc_usable_size(taken));
  return taken;
}

void give(void* taken) {
  if (account != nullptr) *account -= static_cast<long long>(malloc_usable_size(taken));
  std::free(taken);
}

}  // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
void operator delete(void* taken) noexcept { give(taken); }
void operator delete[](void* taken) noexcept { give(taken); }
void operator delete(void* taken, std::size_t) noexcept { give(taken); }
void operator delete[](void* taken, std::size_t) noexcept { give(taken); }

namespace sidekick::sim {

Account::Account(long long& held_bytes) { account = &held_bytes; }
Account::~Account() { close(); }
void Account::close() { account = nullptr; }

}  // namespace sidekick::sim
