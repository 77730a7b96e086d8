#include "record_command.hpp"

#include <cstring>

#include "command.hpp"
#include "core_hub.hpp"
#include "files.hpp"
#include "sidekick/text.hpp"
#include "wasmtime_hub.hpp"

#ifndef __wasi__
#include <csignal>
#include <unistd.h>
#endif

namespace sidekick::trace {

int record_stream(std::istream& in, const char* path, std::FILE* out, ReplayedHub& hub) {
  Reader reader(in);
  std::string text;
  for (;;) {
    const Reader::Step step = reader.next();
    text.clear();
    switch (step) {
      case Reader::Step::header:
        hub.open(reader.config_text(), reader.config());
        text = reader.line() + "\n";
        break;
      case Reader::Step::input:
        set_trap_place(reader.line_number());
        hub.append_lines(text, reader.now(), reader.input());
        break;
      case Reader::Step::action:
        break;
      case Reader::Step::hash:
        text = hub.hash_line();
        break;
      case Reader::Step::end:
        std::fflush(out);
        return 0;
      case Reader::Step::broken:
        return unreadable(path, reader);
    }
    if (std::fwrite(text.data(), 1, text.size(), out) != text.size()) return unusable("stdout", "cannot be written to");
    if (step == Reader::Step::hash) std::fflush(out);
  }
}

int record(const Told& told) {
  const char* path = told.files[0];
  if (!can_read(path)) return 2;
  FileInput stream(path);
  catch_traps();
  set_trap_file(path);
  if (told.module.empty()) {
    CoreHub hub;
    return record_stream(stream, path, stdout, hub);
  }
  std::string error;
  const std::unique_ptr<ReplayedHub> hub = make_wasmtime_hub(told.module, error);
  return hub == nullptr ? unusable(told.module, error) : record_stream(stream, path, stdout, *hub);
}

#ifdef __wasi__

// There the runtime tells of a trap.
void catch_traps() {}
void set_trap_file(const char*) {}
void set_trap_place(u64) {}

#else

namespace {

char trap_file[512];
volatile u64 trap_line;

/// Only what a signal handler may do.
void on_trap(int) {
  const auto write_text = [](Bytes text) { [[maybe_unused]] const auto written = ::write(2, text.data(), text.size()); };
  write_text(Bytes(trap_file, std::strlen(trap_file)));
  write_text(":");
  write_text(Digits(trap_line));
  write_text(": the core trapped at the input of this line\n");
  ::_exit(1);
}

}  // namespace

void catch_traps() {
  std::signal(SIGILL, on_trap);
  std::signal(SIGTRAP, on_trap);
}

void set_trap_file(const char* path) { std::snprintf(trap_file, sizeof trap_file, "%s", path); }
void set_trap_place(u64 line) { trap_line = line; }

#endif

}  // namespace sidekick::trace
