// The progress of long work: one line on a terminal, from one second of work on, erased before
// anything else is printed and when a signal ends the process. One per process. Nothing is shown in
// a pipe or file, on a dumb terminal, or by a process in the background.
#pragma once

#include <string>

#include "sidekick/base.hpp"

namespace sidekick::trace::progress {

/// Where the command writes while it works.
enum class Output : u8 {
  at_the_end,  ///< a summary, or into a file of its own
  stdout_all,  ///< everything: shown only if stdout is a file, else it would stand in the output
};

/// command: outlives the process. Does nothing if stderr is not a terminal.
void start(const char* command, Output output);

/// For a child process, which shares the terminal.
void stop();

/// Files that are read at the same time count as one. size: 0 if unknown.
void add_file(u64 size);
void remove_file(u64 size, u64 bytes_read);
void on_read(Bytes bytes);

/// The next part of the work reads no file: `inputs` of `inputs_before` are left.
void on_trial(std::size_t inputs, std::size_t inputs_before, u32 trial);

/// Call while waiting.
void tick();

/// Before anything is printed. Async-signal-safe.
void erase();

}  // namespace sidekick::trace::progress
