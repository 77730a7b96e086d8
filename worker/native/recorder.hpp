// Writes a trace to a file asynchronously. Nothing waits for it: if the disk fails or falls too far
// behind, the recording ends and the server continues.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "log.hpp"
#include "sidekick/base.hpp"

namespace sidekick::host {

class Recorder {
 public:
  /// Appends: a trace may hold several recordings, and a restart must not erase the one that shows
  /// its cause. Throws UsageError if the file cannot be opened.
  Recorder(std::string path, Log& log);
  /// Waits until everything has been handed to the disk or can no longer be; for the reader of a
  /// pipe only briefly.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  bool is_active() const { return is_active_; }

  /// The place of the next line: FILE:LINE, or FILE alone while the earlier lines are still being
  /// counted.
  std::string place() const;

  /// lines: whole lines; copied. Also notices and logs failures.
  void write(std::string_view lines);

 private:
  void run();
  void count_before(u64 size);
  bool can_wait_for_reader();
  void stop(const std::string& why);

  static constexpr u64 unknown = ~u64{0};

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
  u64 lines_ = 0;  ///< written since the start
  std::atomic<u64> lines_before_ = unknown;
  std::atomic<bool> is_closed_ = false;
  std::thread counter_;
  std::thread writer_;
};

}  // namespace sidekick::host
