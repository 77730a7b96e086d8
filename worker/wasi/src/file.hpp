// Reading a file whole.
#pragma once

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace sidekick::host {

struct File {
  std::string bytes;
  int error = 0;  ///< errno, where it could not be read
};

inline File read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {{}, errno};
  File file;
  char chunk[65536];
  for (;;) {
    const ssize_t size = ::read(fd, chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) file = {{}, errno};
    if (size <= 0) break;
    file.bytes.append(chunk, static_cast<std::size_t>(size));
  }
  ::close(fd);
  return file;
}

}  // namespace sidekick::host
