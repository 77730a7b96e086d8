// Reads a whole file.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <string>

namespace sidekick::host {

struct File {
  std::string bytes;
  int error = 0;  ///< errno, if it could not be read
};

/// only_regular: rejects pipes, devices and the like with EINVAL, because opening or reading one
/// might block forever.
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
