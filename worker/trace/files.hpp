// Files that commands are told: what can be wrong with them is said here, the same way by every
// command, and before anything is done.
#pragma once

#include "command.hpp"
#include "file_input.hpp"

namespace sidekick::trace {

/// Says why the file cannot be read as a trace, if it cannot: not there, a folder, empty, of
/// another format.
bool can_read(const char* path);

/// Empty, or what is wrong with -o; also that it cannot be written.
std::string wrong_with_out(const Told& told);

/// For the owner alone, as recordings are: it holds what users said. Null, and errno says why.
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
