#include "store/private_file.hpp"

#include <unistd.h>

namespace sidekick::host {

void keep_private(int file, std::string_view what, const std::string& path, Log& log) {
  struct stat status{};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return;
  const bool is_own = status.st_uid == ::geteuid();
  const bool is_private =
      (is_own || status.st_uid == 0) && (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  if (is_private) return;
  if (is_own && ::fchmod(file, S_IRUSR | S_IWUSR) == 0) {
    return log.info("other users had access to " + std::string(what) + "; its mode is now 0600",
                    {{"file", path}});
  }
  log.warn("other users have access to " + std::string(what) +
               ": give the file to the user of this server, with mode 0600",
           {{"file", path}});
}

void warn_if_public(const struct stat& status, std::string_view what, const std::string& path,
                    Log& log) {
  if (!S_ISREG(status.st_mode) || (status.st_mode & S_IROTH) == 0) return;
  log.warn("every user of this machine can read " + std::string(what) + ": run chmod o= on it",
           {{"file", path}});
}

}  // namespace sidekick::host
