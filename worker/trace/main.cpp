// sidekick-trace: tools for recordings. Native, and as a WASI command. This file contains only the
// command line.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "command.hpp"
#include "progress.hpp"
#include "sidekick/text.hpp"

namespace {

using namespace sidekick;
using trace::Told;
using trace::progress::Output;

constexpr char usage[] =
    R"(sidekick-trace COMMAND: tools for the recordings of a Sidekick (docs/replay.md)

  replay TRACE...                        compare this build's core with the recording; show the
                                         first difference and the inputs before it
  show TRACE [--client N] [--topic NAME] [--token KEY]
                                         timeline of inputs and actions; filters combine
  stat TRACE                             counts, rates, sizes, errors, busiest names
  html TRACE [--page FILE]               print the inspector: a page that contains the trace. FILE:
                                         the page without one, as covenant-sidekick-replay --html
                                         prints it (default: inspector.html beside this program or
                                         its folder)
  compare A B                            first difference of two recordings of the same inputs
  shrink TRACE -o OUT --until trap       shortest trace on which this build's core traps
  shrink TRACE -o OUT --until says:TEXT  shortest trace in which it records TEXT
  shrink TRACE -o OUT --against COMMAND  shortest trace that COMMAND records differently
         [--trials N]                    limit of candidates (default 20000)
  redact TRACE -o OUT [--key TEXT]       replace tokens, payloads, names and texts by stand-ins; the
                                         same key gives the same stand-ins
  record TRACE [--module FILE]           record the inputs again, on this build's core or a module
  metrics TRACE [--module FILE]          GET /metrics after the last input; of a part of the
                                         recording: head -n LINES TRACE | sidekick-trace metrics -
  upgrade-check OLD.wasm NEW.wasm TRACE  compare the answers of two modules to the inputs

TRACE may be - for stdin.
Exit status: 0 success, 1 difference, 2 usage or input error, 130 shrink was interrupted (OUT is the
shortest found so far, if any).
)";

struct Command {
  const char* name;
  std::size_t files_min;
  std::size_t files_max;
  int (*run)(const Told&);
  Output output = Output::at_the_end;
};

constexpr Command commands[] = {
    {"replay", 1, ~std::size_t{0}, trace::replay},
    {"show", 1, 1, trace::show, Output::stdout_all},
    {"stat", 1, 1, trace::stat},
    {"html", 1, 1, trace::html, Output::stdout_all},
    {"compare", 2, 2, trace::compare},
    {"shrink", 1, 1, trace::shrink},
    {"redact", 1, 1, trace::redact},
    {"record", 1, 1, trace::record, Output::stdout_all},
    {"metrics", 1, 1, trace::metrics},
    {"upgrade-check", 3, 3, trace::upgrade_check},
};

struct TextOption {
  const char* name;
  const char* command;
  std::string Told::* value;
};

constexpr TextOption text_options[] = {
    {"--topic", "show", &Told::topic},   {"--token", "show", &Told::token},
    {"-o", "shrink", &Told::out},        {"-o", "redact", &Told::out},
    {"--until", "shrink", &Told::until}, {"--against", "shrink", &Told::against},
    {"--key", "redact", &Told::key},     {"--module", "record", &Told::module},
    {"--page", "html", &Told::page},     {"--module", "metrics", &Told::module},
};

int refuse(const std::string& what) {
  std::fprintf(stderr, "sidekick-trace: %s; try --help\n", what.c_str());
  return 2;
}

/// value: null if there is none.
bool read_number(const char* value, u32& number) {
  if (value == nullptr || *value < '0' || *value > '9') return false;
  char* end = nullptr;
  errno = 0;
  const unsigned long long read = std::strtoull(value, &end, 10);
  number = static_cast<u32>(read);
  return *end == '\0' && errno == 0 && read <= 0xFFFFFFFF;
}

/// Returns an empty text, or the error in the option.
std::string take_option(const Command& command, Bytes name, const char* value, Told& told) {
  const Bytes chosen = command.name;
  if (name == "--client" && chosen == "show") {
    u32 number = 0;
    if (!read_number(value, number))
      return compose({"expected a client's number after --client, found ",
                      value == nullptr ? "nothing" : value});
    told.client = number;
    return "";
  }
  if (name == "--trials" && chosen == "shrink") {
    if (read_number(value, told.trials) && told.trials > 0) return "";
    return compose({"expected a number from 1 to 4294967295 after --trials, found ",
                    value == nullptr ? "nothing" : value});
  }
  for (const TextOption& option : text_options) {
    if (name != option.name || chosen != option.command) continue;
    if (value == nullptr || *value == '\0')
      return compose({"expected a value after ", name, ", found nothing"});
    told.*option.value = value;
    return "";
  }
  return compose({"after ", chosen, " expected files or its options, found ", name});
}

bool asks_for_help(Bytes argument) { return argument == "--help" || argument == "-h"; }

int show_help() {
  std::fputs(usage, stdout);
  return 0;
}

int run(int argc, char** argv) {
  if (argc < 2) return refuse("expected a command");
  if (asks_for_help(argv[1])) return show_help();
  for (const Command& command : commands) {
    if (std::strcmp(argv[1], command.name) != 0) continue;
    Told told;
    for (int i = 2; i < argc; ++i) {
      if (asks_for_help(argv[i])) return show_help();
      if (argv[i][0] != '-' || argv[i][1] == '\0') {
        told.files.push_back(argv[i]);
        continue;
      }
      const std::string wrong = take_option(command, argv[i], argv[i + 1], told);
      if (!wrong.empty()) return refuse(wrong);
      ++i;
    }
    if (told.files.size() < command.files_min || told.files.size() > command.files_max) {
      return refuse(compose({"expected ", Digits(command.files_min),
                             command.files_max > command.files_min ? " file or more after "
                             : command.files_min == 1              ? " file after "
                                                                   : " files after ",
                             command.name, ", found ", Digits(told.files.size())}));
    }
    trace::progress::start(command.name, command.output);
    return command.run(told);
  }
  return refuse(compose({"expected a command, found ", argv[1]}));
}

}  // namespace

int main(int argc, char** argv) {
  const int status = run(argc, argv);
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0
             ? status
             : trace::unusable("stdout", "cannot be written to");
}
