// The child processes that record candidates for shrink: a trap is an answer, not the end. They
// read candidates like `record` reads a trace, one after the other through one pipe; a hash line
// requests all pending output, and their hash line ends it. POSIX only.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::trace {

struct Answer {
  /// the recording, header first, without the last hash; also of one that trapped
  std::string text;
  ///< the output up to then
  bool has_trapped = false;
};

class Party {
 public:
  /// command: for the shell; empty: this build's core.
  explicit Party(std::string command) : command_(std::move(command)) {}
  ~Party() { stop(); }
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;

 private:
  friend std::string ask(const std::vector<Party*>& parties, const std::string& text,
                         std::vector<Answer>& answers);

  void start();
  void stop();

  std::string command_;
  int pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  bool has_answered_ =
      false;  // at least once: a command that never did is unsuitable, rather than trapped
};

/// All at once. text: a header line and input lines. Returns an empty text, or the error of a
/// party.
std::string ask(const std::vector<Party*>& parties, const std::string& text,
                std::vector<Answer>& answers);

/// From now on SIGINT, SIGTERM and SIGHUP end the question, with an error, instead of this process:
/// the caller keeps all answers so far.
void catch_interrupts();
bool was_interrupted();
void forget_interrupt();

}  // namespace sidekick::trace
