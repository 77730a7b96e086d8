#include "recorder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "errors.hpp"
#include "store/private_file.hpp"

namespace sidekick::host {

namespace {

constexpr std::size_t unwritten_bytes_max = 64 * 1024 * 1024;
// Each write wakes a thread and enters the kernel, which costs as much as a request, so lines are
// written in batches of this size.
constexpr std::chrono::milliseconds written_after{5};
constexpr std::size_t written_from_bytes = 1024 * 1024;
// An unread pipe must not block shutdown.
constexpr std::chrono::milliseconds closed_after_max{2000};

/// Size of the file's present content; 0 for a pipe.
u64 size_of(int file) {
  struct stat about{};
  return ::fstat(file, &about) == 0 && S_ISREG(about.st_mode) ? static_cast<u64>(about.st_size) : 0;
}

/// A killed host may have left half a line: new lines must not be appended to it.
bool ends_in_mid_line(const std::string& path, u64 size) {
  if (size == 0) return false;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char last = '\n';
  const bool is_read = file >= 0 && ::pread(file, &last, 1, static_cast<off_t>(size - 1)) == 1;
  if (file >= 0) ::close(file);
  return is_read && last != '\n';
}

u64 newlines_in(std::string_view text) {
  return static_cast<u64>(std::count(text.begin(), text.end(), '\n'));
}

std::string why_unopened(const std::string& path, int error) {
  struct stat about{};
  if (error == ENXIO && ::stat(path.c_str(), &about) == 0) {
    if (S_ISFIFO(about.st_mode)) return "ENXIO: nothing reads this pipe; start its reader first";
    if (S_ISSOCK(about.st_mode)) return "ENXIO: this is a socket; record into a file or a pipe";
  }
  return errno_text(error) + ", open";
}

}  // namespace

Recorder::Recorder(std::string path, Log& log) : path_(std::move(path)), log_(log) {
  // Opened synchronously: if a recording was requested, the server must not start without one. A
  // pipe is opened without waiting for its reader, because a waiting thread could not be stopped; a
  // regular file never waits.
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
  if (file_ < 0) throw UsageError("--record " + path_ + ": " + why_unopened(path_, errno));
  keep_private(file_, "the recording", path_, log_);
  const u64 size = size_of(file_);
  if (size == 0)
    lines_before_ = 0;
  else
    counter_ = std::thread([this, size] { count_before(size); });
  if (ends_in_mid_line(path_, size)) {
    unwritten_ = "\n";
    lines_ = 1;
  }
  writer_ = std::thread([this] { run(); });
}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    given_up_at_ = std::chrono::steady_clock::now() + closed_after_max;
  }
  changed_.notify_one();
  writer_.join();
  is_closed_ = true;
  if (counter_.joinable()) counter_.join();
  if (is_active_ && !wrong_.empty()) stop(wrong_);
  ::close(file_);
}

std::string Recorder::place() const {
  if (!is_active_) return "has ended";
  const u64 before = lines_before_;
  return before == unknown ? path_ : path_ + ":" + std::to_string(before + lines_ + 1);
}

/// In a thread: the file may be long, and the server must not wait.
void Recorder::count_before(u64 size) {
  const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;  // it can be written to, but not read
  std::string chunk(1 << 20, '\0');
  u64 lines = 0;
  for (u64 at = 0; at < size && !is_closed_;) {
    const ssize_t bytes = ::read(file, chunk.data(), std::min<u64>(chunk.size(), size - at));
    if (bytes <= 0) break;
    at += static_cast<u64>(bytes);
    lines += newlines_in(std::string_view(chunk).substr(0, static_cast<std::size_t>(bytes)));
    if (at == size) lines_before_ = lines;
  }
  ::close(file);
}

void Recorder::write(std::string_view lines) {
  if (!is_active_ || lines.empty()) return;
  lines_ += newlines_in(lines);
  std::string wrong;
  bool wakes = false;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t before = unwritten_.size();
    unwritten_ += lines;
    wakes = before == 0 || (before < written_from_bytes && unwritten_.size() >= written_from_bytes);
    wrong = unwritten_.size() > unwritten_bytes_max ? "the disk is too slow" : wrong_;
  }
  if (wakes) changed_.notify_one();
  if (!wrong.empty()) stop(wrong);
}

void Recorder::run() {
  for (;;) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_ending_ || !unwritten_.empty(); });
      if (unwritten_.empty()) return;
      changed_.wait_for(lock, written_after,
                        [this] { return is_ending_ || unwritten_.size() >= written_from_bytes; });
      text.swap(unwritten_);
    }
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t bytes = ::write(file_, text.data() + at, text.size() - at);
      if (bytes >= 0) {
        at += static_cast<std::size_t>(bytes);
        continue;
      }
      const int error = errno;
      if (error == EINTR || (error == EAGAIN && can_wait_for_reader())) continue;
      const std::lock_guard lock(mutex_);
      wrong_ = error == EAGAIN ? "the pipe's reader did not take everything in " +
                                     std::to_string(closed_after_max.count()) + " ms"
                               : errno_text(error);
      return;
    }
  }
}

bool Recorder::can_wait_for_reader() {
  pollfd pipe{file_, POLLOUT, 0};
  ::poll(&pipe, 1, 100);
  const std::lock_guard lock(mutex_);
  return wrong_.empty() && (!is_ending_ || std::chrono::steady_clock::now() < given_up_at_);
}

void Recorder::stop(const std::string& why) {
  is_active_ = false;
  const std::lock_guard lock(mutex_);
  const char* what = is_ending_ ? "the recording has stopped; its end is missing"
                                : "the recording has stopped; the server continues";
  unwritten_ = {};
  wrong_ = why;  // wakes the writer from its wait
  log_.error(what, {{"file", path_}, {"reason", why}});
}

}  // namespace sidekick::host
