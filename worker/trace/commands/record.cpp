#include "commands/record.hpp"

#include "command.hpp"
#include "files.hpp"
#include "sidekick/text.hpp"
#include "trace/core_hub.hpp"
#include "trace/trace_line.hpp"
#include "trap_place.hpp"
#include "wasmtime_hub.hpp"

namespace sidekick::trace {

int record_stream(std::istream& in, const char* path, std::FILE* out, ReplayedHub& hub) {
  Reader reader(in);
  std::string text;
  const auto place = [&] { return compose({path, ":", Digits(reader.line_number())}); };
  for (;;) {
    const Reader::Step step = reader.next();
    text.clear();
    switch (step) {
      case Reader::Step::header:
        hub.open(reader.config_text(), reader.config(), reader.format());
        if (!hub.wrong().empty())
          return unusable(place(),
                          compose({"the module rejects this configuration: ", hub.wrong()}));
        text = gap_line(reader.lines_missed()) + reader.line() + "\n";
        break;
      case Reader::Step::input:
        set_trap_place(reader.line_number());
        hub.append_lines(text, reader.now(), reader.input());
        if (!hub.wrong().empty()) {  // as on_trap
          if (out != nullptr) std::fflush(out);
          return unusable(place(),
                          compose({"the module trapped at the input of this line: ", hub.wrong()})),
                 1;
        }
        break;
      case Reader::Step::action:
        break;
      case Reader::Step::hash:
        text = hub.hash_line();
        break;
      case Reader::Step::end:
        if (out != nullptr) std::fflush(out);
        return 0;
      case Reader::Step::broken:
        return unreadable(path, reader);
    }
    if (out == nullptr) continue;
    if (std::fwrite(text.data(), 1, text.size(), out) != text.size())
      return unusable("stdout", "cannot be written to");
    if (step == Reader::Step::hash) std::fflush(out);
  }
}

namespace {

int run(const Told& told, std::FILE* out, std::string& metrics) {
  const char* path = told.files[0];
  if (!can_read(path)) return 2;
  FileInput stream(path);
  catch_traps();
  set_trap_file(path);
  std::string error;
  const std::unique_ptr<ReplayedHub> hub =
      told.module.empty() ? std::make_unique<CoreHub>() : make_wasmtime_hub(told.module, error);
  if (hub == nullptr) return unusable(told.module, error);
  const int status = record_stream(stream, path, out, *hub);
  if (stream.has_failed()) return unusable(path, "cannot be read to its end");
  if (status == 0) metrics = hub->metrics();
  return status;
}

}  // namespace

int record(const Told& told) {
  std::string unused;
  return run(told, stdout, unused);
}

int metrics(const Told& told) {
  std::string text;
  const int status = run(told, nullptr, text);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return status;
}

}  // namespace sidekick::trace
