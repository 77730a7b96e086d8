// The current place of a replay, printed when the core traps. One per process, which a trap ends.
// In WASI the runtime ends it.
#pragma once

#include "sidekick/text.hpp"

#ifndef __wasi__
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "progress.hpp"
#endif

namespace sidekick::trace {

#ifdef __wasi__

inline void catch_traps() {}
inline void set_trap_file(const char*) {}
inline void set_trap_place(u64) {}

#else

inline char trap_file[512];
inline volatile u64 trap_line;

/// Async-signal-safe calls only.
inline void on_trap(int) {
  const auto write_text = [](Bytes text) {
    [[maybe_unused]] const auto written = ::write(2, text.data(), text.size());
  };
  progress::erase();
  write_text(Bytes(trap_file, std::strlen(trap_file)));
  write_text(":");
  write_text(Digits(trap_line));
  write_text(": the core trapped at the input of this line\n");
  ::_exit(1);
}

/// From now on a trap prints the place and exits with status 1.
inline void catch_traps() {
  std::signal(SIGILL, on_trap);
  std::signal(SIGTRAP, on_trap);
}

inline void set_trap_file(const char* path) {
  std::snprintf(trap_file, sizeof trap_file, "%s", path);
}
inline void set_trap_place(u64 line) { trap_line = line; }

#endif

}  // namespace sidekick::trace
