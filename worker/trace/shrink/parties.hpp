// Those who record candidates for shrink, each a process of its own: a trap is an answer, not the
// end. They are asked as `record` reads a trace, one trace after the other through one pipe; a hash
// line asks for all that is due, and theirs ends it. POSIX only.
#pragma once

#include <string>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::trace {

struct Answer {
  std::string text;  ///< the recording, header first, without the last hash; of one that trapped
                     ///< what had come by then
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
      false;  // once at least: what never did does not know how, rather than that it traps
};

/// All at once. text: a header line and input lines. Returns an empty text, or what is wrong with a
/// party.
std::string ask(const std::vector<Party*>& parties, const std::string& text,
                std::vector<Answer>& answers);

/// From now on SIGINT, SIGTERM and SIGHUP end what is asked, with an error, instead of this
/// process: whoever asks then has all that was answered.
void catch_interrupts();
bool was_interrupted();
void forget_interrupt();

}  // namespace sidekick::trace
