#include "recorder.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.hpp"

namespace sidekick::host {

namespace {

constexpr std::size_t unwritten_bytes_max = 64 * 1024 * 1024;

}  // namespace

Recorder::Recorder(std::string path, Log& log) : path_(std::move(path)), log_(log) {
  // Only for the owner: a trace holds messages and tokens. At once: who asks for a recording wants none of a server without.
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file_ < 0) throw UsageError("--record " + path_ + ": " + errno_text(errno) + ", open");
  writer_ = std::thread([this] { run(); });
}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_one();
  writer_.join();
  ::close(file_);
}

void Recorder::write(std::string_view lines) {
  if (!is_active_ || lines.empty()) return;
  std::string wrong;
  {
    const std::lock_guard lock(mutex_);
    unwritten_ += lines;
    wrong = unwritten_.size() > unwritten_bytes_max ? "the disk is too slow" : wrong_;
  }
  changed_.notify_one();
  if (!wrong.empty()) stop(wrong);
}

void Recorder::run() {
  for (;;) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_ending_ || !unwritten_.empty(); });
      if (unwritten_.empty()) return;
      text.swap(unwritten_);
    }
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t bytes = ::write(file_, text.data() + at, text.size() - at);
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) {
        const std::lock_guard lock(mutex_);
        wrong_ = errno_text(errno);
        return;
      }
      at += static_cast<std::size_t>(bytes);
    }
  }
}

void Recorder::stop(const std::string& why) {
  is_active_ = false;
  const std::lock_guard lock(mutex_);
  unwritten_ = {};
  log_.error("the recording has stopped, the server goes on", {{"file", path_}, {"reason", why}});
}

}  // namespace sidekick::host
