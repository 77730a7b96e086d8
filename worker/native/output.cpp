#include "output.hpp"

#include <poll.h>
#include <unistd.h>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace sidekick::host {

struct Output::State {
  const int file;
  std::mutex mutex{};
  std::condition_variable changed{};
  std::string unwritten{};
  std::size_t being_written = 0;
  bool is_ending = false;

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return is_ending || !unwritten.empty(); });
      if (unwritten.empty()) return;
      std::string text;
      text.swap(unwritten);
      being_written = text.size();
      lock.unlock();
      write_all(text);
      lock.lock();
      being_written = 0;
      changed.notify_all();
    }
  }

  void write_all(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t size = ::write(file, text.data(), text.size());
      if (size >= 0) {
        text.remove_prefix(static_cast<std::size_t>(size));
      } else if (errno == EAGAIN) {  // another process has made it non-blocking
        pollfd ready{file, POLLOUT, 0};
        ::poll(&ready, 1, -1);
      } else if (errno != EINTR) {
        return;  // the reader has exited; that must not stop the server
      }
    }
  }
};

Output::Output(int file) : state_(new State{file}) {
  // Detached: nothing can end a write that hangs, except the end of the process.
  std::thread([state = state_] { state->run(); }).detach();
}

Output::~Output() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_ending = true;
  }
  state_->changed.notify_all();
}

bool Output::write(std::string text) {
  {
    const std::lock_guard lock(state_->mutex);
    const std::size_t waiting = state_->being_written + state_->unwritten.size();
    if (waiting + text.size() > unwritten_bytes_max) return false;
    state_->unwritten += text;
  }
  state_->changed.notify_all();
  return true;
}

void Output::flush(std::chrono::milliseconds at_most) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(
      lock, at_most, [this] { return state_->unwritten.empty() && state_->being_written == 0; });
}

}  // namespace sidekick::host
