// Reading a file whole.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <string>

namespace sidekick::host {

struct File {
  std::string bytes;
  int error = 0;  ///< errno, where it could not be read
};

/// only_regular: a pipe, a device and the like are refused with EINVAL. Opening or reading one
/// might never end.
inline File read_file(const std::string& path, bool only_regular = false) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | (only_regular ? O_NONBLOCK : 0));
  if (fd < 0) return {{}, errno};
  File file;
  struct stat status{};
  if (only_regular && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
    ::close(fd);
    return {{}, EINVAL};
  }
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
