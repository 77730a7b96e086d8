// Files with secrets, tokens or messages: only their owner may read them. A file that already
// exists may have any owner and mode.
#pragma once

#include <sys/stat.h>
#include <string>
#include <string_view>

#include "log.hpp"

namespace sidekick::host {

/// For an open file that this process writes. Sets its mode to 0600, or warns if it belongs to
/// another user. Ignores pipes and devices. `what`: for the log, such as "the recording".
void keep_private(int file, std::string_view what, const std::string& path, Log& log);

/// For a file that this process only reads. Warns if every user may read it; a group may, since a
/// service often gets its key that way.
void warn_if_public(const struct stat& status, std::string_view what, const std::string& path,
                    Log& log);

}  // namespace sidekick::host
