#include "shrink/parties.hpp"

#include <fcntl.h>
#include <poll.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "commands/record.hpp"
#include "file_input.hpp"
#include "progress.hpp"
#include "shrink/answer_check.hpp"
#include "sidekick/text.hpp"
#include "trace/core_hub.hpp"

namespace sidekick::trace {

namespace {

constexpr int silence_ms_max = 60'000;
constexpr int glance_ms = 100;  // a signal may come just before the wait for an answer
volatile std::sig_atomic_t has_interrupt = 0;
constexpr Bytes question = "{\"hash\":{}}\n";
constexpr Bytes answer_begin = "{\"hash\":";

[[noreturn]] void record_core() {
  FileInput stream("-");
  CoreHub hub;
  ::_exit(record_stream(stream, "a candidate of shrink", stdout, hub));
}

/// Start of the last line, if it is complete and the awaited one.
std::size_t find_end(const std::string& text) {
  if (text.empty() || text.back() != '\n') return std::string::npos;
  const std::size_t before =
      text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  return Bytes(text).substr(begin).starts_with(answer_begin) ? begin : std::string::npos;
}

std::string not_repeated(Bytes command, Bytes wrong) {
  return compose(
      {command.empty() ? "this build" : compose({"the command \"", command, "\""}),
       " did not repeat the header and the inputs, as `sidekick-trace record -` does: ", wrong});
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { has_interrupt = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    ::sigaction(signal, &action, &before);
    if (before.sa_handler == SIG_IGN)
      ::sigaction(signal, &before, nullptr);  // nohup, or a shell's background
  }
}

bool was_interrupted() { return has_interrupt != 0; }
void forget_interrupt() { has_interrupt = 0; }

void Party::start() {
  int in[2];
  int out[2];
  SIDEKICK_CHECK(::pipe(in) == 0 && ::pipe(out) == 0);
  std::fflush(nullptr);
  pid_ = ::fork();
  SIDEKICK_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    progress::stop();
    ::setpgid(0, 0);  // a command may be a pipeline: stop all of it
    const rlimit none = {0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    for (const int signal : {SIGILL, SIGTRAP, SIGPIPE, SIGINT, SIGTERM, SIGHUP})
      std::signal(signal, SIG_DFL);
#ifdef __linux__
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // even if the parent is killed
#endif
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
    if (command_.empty()) record_core();
    ::execl("/bin/sh", "sh", "-c", command_.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
  ::close(in[0]);
  ::close(out[1]);
  to_ = in[1];
  from_ = out[0];
  for (const int end : {to_, from_}) ::fcntl(end, F_SETFD, FD_CLOEXEC);
  ::fcntl(to_, F_SETFL, O_NONBLOCK);
}

void Party::stop() {
  if (pid_ < 0) return;
  ::close(to_);
  ::close(from_);
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string ask(const std::vector<Party*>& parties, const std::string& text,
                std::vector<Answer>& answers) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string asked = compose({text, question});
  answers.assign(parties.size(), {});
  const auto inputs = static_cast<u64>(std::count(text.begin(), text.end(), '\n')) - 1;
  std::vector<AnswerCheck> checks(parties.size(), AnswerCheck(inputs));
  std::vector<std::size_t> sent(parties.size(), 0);
  std::vector<char> is_done(parties.size(), 0);
  for (Party* party : parties) {
    if (party->pid_ < 0) party->start();
  }
  int silent_ms = 0;
  for (std::size_t open = parties.size(); open > 0;) {
    if (was_interrupted()) {
      for (Party* party : parties)
        party->stop();  // their remaining output answers no later question
      return "interrupted";
    }
    std::vector<pollfd> waits;
    for (std::size_t i = 0; i < parties.size(); ++i) {
      waits.push_back({is_done[i] ? -1 : parties[i]->from_, POLLIN, 0});
      waits.push_back({is_done[i] || sent[i] == asked.size() ? -1 : parties[i]->to_, POLLOUT, 0});
    }
    const int ready = ::poll(waits.data(), waits.size(), glance_ms);
    if (ready < 0) continue;
    silent_ms = ready > 0 ? 0 : silent_ms + glance_ms;
    progress::tick();
    if (ready == 0 && silent_ms < silence_ms_max) continue;
    if (ready == 0) {
      return "expected a line {\"hash\":...} in answer to one, as `sidekick-trace record -` gives "
             "it, received nothing for 60 s";
    }
    for (std::size_t i = 0; i < parties.size(); ++i) {
      Party& party = *parties[i];
      if (waits[2 * i + 1].revents != 0) {
        const auto size = ::write(party.to_, asked.data() + sent[i], asked.size() - sent[i]);
        sent[i] = size < 0 ? asked.size()
                           // a process that ended reads no more
                           : sent[i] + static_cast<std::size_t>(size);
      }
      if (waits[2 * i].revents == 0) continue;
      char bytes[65536];
      const auto size = ::read(party.from_, bytes, sizeof bytes);
      if (size > 0) answers[i].text.append(bytes, static_cast<std::size_t>(size));
      if (const std::string wrong = checks[i].look(answers[i].text); !wrong.empty())
        return not_repeated(party.command_, wrong);
      const std::size_t end = find_end(answers[i].text);
      if (size > 0 && end == std::string::npos) continue;
      is_done[i] = 1;
      --open;
      if (size > 0) {
        if (const std::string wrong = checks[i].end(); !wrong.empty())
          return not_repeated(party.command_, wrong);
        answers[i].text.resize(end);
        party.has_answered_ = true;
        continue;
      }
      if (!party.command_.empty() && !party.has_answered_ && answers[i].text.empty()) {
        return compose({"the command of --against exited without an answer: ", party.command_});
      }
      answers[i].has_trapped = true;
      party.stop();
    }
  }
  return "";
}

}  // namespace sidekick::trace
