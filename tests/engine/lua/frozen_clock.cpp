// Preloaded into redis-server: its time stands still until a test moves it, so that stamps and
// expiry can be compared exactly. The time is a u64 in a file: microseconds since the Unix epoch.
// Only gettimeofday() is replaced, which Redis asks for what scripts and keys see.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <cstdint>
#include <cstdlib>

extern "C" int gettimeofday(timeval* now, void*) noexcept {
  static const auto* const clock = [] {
    const int file = open(getenv("SIDEKICK_TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
    void* const at = mmap(nullptr, sizeof(std::uint64_t), PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || at == MAP_FAILED) abort();
    return static_cast<const volatile std::uint64_t*>(at);
  }();
  const std::uint64_t now_us = *clock;
  now->tv_sec = static_cast<time_t>(now_us / 1'000'000);
  now->tv_usec = static_cast<suseconds_t>(now_us % 1'000'000);
  return 0;
}
