// The files of commands: checks them the same way for every command, before any work.
#pragma once

#include "command.hpp"
#include "file_input.hpp"

namespace sidekick::trace {

/// Returns why the file cannot be read as a trace: it does not exist, is a folder, is empty, has
/// another format. Empty if it can.
bool can_read(const char* path);

/// Empty, or the error in -o, including a file that cannot be written.
std::string wrong_with_out(const Told& told);

/// Only the owner may read it, like recordings: it contains users' messages. Null with errno set on
/// failure.
std::FILE* create_file(const std::string& path);

/// run: (Reader&) -> exit status.
template <class Run>
int read_trace(const char* path, Run&& run) {
  if (!can_read(path)) return 2;
  FileInput stream(path);
  Reader reader(stream);
  const int status = run(reader);
  return stream.has_failed() ? unusable(path, "cannot be read to its end") : status;
}

}  // namespace sidekick::trace
