// Text for stdout or stderr, written by a thread of its own: a reader that has stopped reading (a
// full pipe, a paused terminal, a hung disk) must not stop the loop. Bounded; never waits but in
// flush().
#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace sidekick::host {

class Output {
 public:
  /// Output that waits for its reader, in bytes.
  static constexpr std::size_t unwritten_bytes_max = 256 * 1024;

  explicit Output(int file);
  /// Does not wait for the reader.
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// Returns false, and drops the text, if too much waits already.
  bool write(std::string text);

  /// Waits until everything is written, at most this long. Call it before the process exits.
  void flush(std::chrono::milliseconds at_most);

 private:
  struct State;
  std::shared_ptr<State> state_;  ///< also the thread's, which may outlive this object
};

}  // namespace sidekick::host
