// Reads a whole file, and who else may read or write it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <string>

namespace sidekick::host {

struct File {
  std::string bytes;
  int error = 0;          ///< errno, if it could not be read
  std::string objection;  ///< if it was not read for this reason
  struct stat status{};   ///< of the file that was read, not of another at the same path
};

/// object_to: returns why not to read a file with this status, or nothing. Opening such a file does
/// not block, even if it is a pipe.
inline File read_file(const std::string& path,
                      std::string (*object_to)(const struct stat& status) = nullptr) {
  const int blocking = object_to == nullptr ? 0 : O_NONBLOCK;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | blocking);
  File file;
  if (fd < 0 || ::fstat(fd, &file.status) != 0)
    file.error = errno;
  else if (object_to != nullptr)
    file.objection = object_to(file.status);
  char chunk[65536];
  while (file.error == 0 && file.objection.empty()) {
    const ssize_t size = ::read(fd, chunk, sizeof chunk);
    if (size == 0) break;
    if (size > 0)
      file.bytes.append(chunk, static_cast<std::size_t>(size));
    else if (errno != EINTR)
      file.error = errno;
  }
  if (fd >= 0) ::close(fd);
  return file;
}

}  // namespace sidekick::host
