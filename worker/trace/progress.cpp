#include "progress.hpp"

#include <sys/stat.h>
#include <unistd.h>
#ifndef __wasi__
#include <sys/ioctl.h>
#include <csignal>
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "sidekick/text.hpp"

namespace sidekick::trace::progress {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto quiet_time = std::chrono::seconds(1);
constexpr auto draw_interval = std::chrono::milliseconds(200);
constexpr Bytes erase_line = "\r\x1b[K";

struct State {
  const char* command = nullptr;  // null: nothing is shown
  Clock::time_point started;
  Clock::time_point drawn;
  u64 size = 0;
  u64 read = 0;
  u64 lines = 0;
  std::size_t inputs = 0;
  std::size_t inputs_before = 0;
  u32 trial = 0;
};

State state;
volatile bool is_drawn = false;  // a signal handler reads it

void write_text(Bytes text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

#ifdef __wasi__
// A runtime has no signals, and says nothing about the terminal.
bool is_in_foreground() { return true; }
std::size_t columns() { return 80; }
void catch_signals() {}
#else
bool is_in_foreground() { return ::tcgetpgrp(STDERR_FILENO) == ::getpgrp(); }

std::size_t columns() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void on_signal(int signal) {
  erase();
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

/// A command with a handler of its own erases the line itself.
void catch_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_DFL) std::signal(signal, on_signal);
  }
}
#endif

bool is_dumb_terminal() {
  const char* term = std::getenv("TERM");
  return term != nullptr && Bytes(term) == "dumb";
}

/// A line that wraps could not be erased.
void draw(Clock::time_point now) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - state.started);
  std::string text = compose({state.command, ": "});
  if (state.inputs_before > 0) {
    text += compose({Digits(state.inputs), " of ", Digits(state.inputs_before),
                     " inputs left, trial ", Digits(state.trial)});
  } else {
    if (state.size > 0)
      text += compose({Digits(std::min(state.read, state.size) * 100 / state.size), " % of ",
                       Digits((state.size + 999'999) / 1'000'000), " MB, "});
    text += compose({Digits(state.lines), " lines"});
  }
  text += compose({", ", Digits(static_cast<u64>(seconds.count())), " s"});
  text.resize(std::min(text.size(), columns() - 1));
  if (!is_drawn) catch_signals();
  is_drawn = true;
  write_text(compose({erase_line, text}));
}

}  // namespace

void start(const char* command, Output output) {
  if (::isatty(STDERR_FILENO) == 0 || is_dumb_terminal()) return;
  struct stat about = {};
  if (output == Output::stdout_all &&
      (::fstat(STDOUT_FILENO, &about) != 0 || !S_ISREG(about.st_mode)))
    return;
  state.command = command;
  state.started = Clock::now();
}

void stop() { state.command = nullptr; }

void add_file(u64 size) { state.size += size; }

void remove_file(u64 size, u64 bytes_read) {
  erase();
  state.size -= size;
  state.read -= bytes_read;
}

void on_read(Bytes bytes) {
  if (state.command == nullptr) return;
  state.inputs_before = 0;
  state.read += bytes.size();
  state.lines += static_cast<u64>(std::count(bytes.begin(), bytes.end(), '\n'));
  tick();
}

void on_trial(std::size_t inputs, std::size_t inputs_before, u32 trial) {
  state.inputs = inputs;
  state.inputs_before = inputs_before;
  state.trial = trial;
  tick();
}

void tick() {
  if (state.command == nullptr) return;
  const Clock::time_point now = Clock::now();
  if (now - state.started < quiet_time || now - state.drawn < draw_interval) return;
  state.drawn = now;
  if (is_in_foreground()) draw(now);
}

void erase() {
  if (!is_drawn) return;
  is_drawn = false;
  write_text(erase_line);
}

}  // namespace sidekick::trace::progress
