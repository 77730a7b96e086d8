// Writes a trace to a file, behind the back of everything else: it is never waited for, and when
// the disk fails or falls too far behind, the recording ends and the server goes on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "log.hpp"

namespace sidekick::host {

class Recorder {
 public:
  /// Appends: a trace may hold several recordings, and a restart must not wipe out the one that
  /// shows why. Throws UsageError when the file cannot be opened.
  Recorder(std::string path, Log& log);
  /// Waits until everything is on its way to the disk, or will not be: not for long for the reader
  /// of a pipe.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  bool is_active() const { return is_active_; }

  /// lines: whole lines; copied. Also the place where a failure is noticed and logged.
  void write(std::string_view lines);

 private:
  void run();
  bool can_wait_for_reader();
  void stop(const std::string& why);

  std::string path_;
  Log& log_;
  int file_;
  bool is_active_ = true;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string unwritten_;
  std::string wrong_;
  bool is_ending_ = false;
  std::chrono::steady_clock::time_point given_up_at_;
  std::thread writer_;
};

}  // namespace sidekick::host
