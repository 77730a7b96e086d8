// upgrade-check: the inputs of a recording through two modules side by side. Ignores the recorded
// actions.
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "command.hpp"
#include "files.hpp"
#include "sidekick/text.hpp"
#include "timeline.hpp"
#include "trace/printable.hpp"
#include "wasmtime_hub.hpp"

namespace sidekick::trace {

namespace {

struct First {
  u64 line = 0;
  std::string input;
  std::string said_by_old;
  std::string said_by_new;
};

/// The line that starts at `at`, without its newline.
Bytes line_at(Bytes text, std::size_t at) { return text.substr(at, text.find('\n', at) - at); }

class Check {
 public:
  Check(const Told& told, ReplayedHub& old_hub, ReplayedHub& new_hub)
      : told_(told), old_(old_hub), new_(new_hub) {}

  int run(const char* path, Reader& reader) {
    for (;;) {
      switch (reader.next()) {
        case Reader::Step::header:
          old_.open(reader.config_text(), reader.config(), reader.format());
          new_.open(reader.config_text(), reader.config(), reader.format());
          for (const auto& [hub, module] :
               {std::pair(&old_, told_.files[0]), std::pair(&new_, told_.files[1])}) {
            if (!hub->wrong().empty())
              return unusable(module, compose({"rejects the configuration of ", path, ":",
                                               Digits(reader.line_number()), ": ", hub->wrong()}));
          }
          timeline_ = {};
          break;
        case Reader::Step::input:
          take(reader);
          break;
        case Reader::Step::action:
        case Reader::Step::hash:
          break;
        case Reader::Step::end:
          return report();
        case Reader::Step::broken:
          return unreadable(path, reader);
      }
    }
  }

 private:
  void take(const Reader& reader) {
    ++inputs_;
    std::string said_by_old;
    std::string said_by_new;
    old_.append_lines(said_by_old, reader.now(), reader.input());
    new_.append_lines(said_by_new, reader.now(), reader.input());
    const std::string input = timeline_.describe(reader.now(), reader.input());
    if (said_by_old == said_by_new) return;
    const std::string kind(find_input_shape(static_cast<u32>(reader.input().tag))->name);
    if (++counts_[kind] > 1) return;
    std::size_t at = 0;
    while (at < said_by_old.size() && at < said_by_new.size() && said_by_old[at] == said_by_new[at])
      ++at;
    at = at == 0 ? 0 : said_by_old.rfind('\n', at - 1) + 1;
    firsts_[kind] = {reader.line_number(), input, std::string(line_at(said_by_old, at)),
                     std::string(line_at(said_by_new, at))};
  }

  int report() const {
    u64 different = 0;
    for (const auto& [kind, count] : counts_) different += count;
    std::printf("%llu inputs, %llu of them with different answers\n",
                static_cast<unsigned long long>(inputs_),
                static_cast<unsigned long long>(different));
    for (const auto& [kind, first] : firsts_) {
      std::printf(
          "\n%s: %llu; the first in line %llu: %s\n  old: %s\n  new: %s\n", kind.c_str(),
          static_cast<unsigned long long>(counts_.at(kind)),
          static_cast<unsigned long long>(first.line), first.input.c_str(),
          first.said_by_old.empty() ? "nothing more" : printable(first.said_by_old).c_str(),
          first.said_by_new.empty() ? "nothing more" : printable(first.said_by_new).c_str());
    }
    return different == 0 ? 0 : 1;
  }

  const Told& told_;
  ReplayedHub& old_;
  ReplayedHub& new_;
  Timeline timeline_;
  u64 inputs_ = 0;
  std::map<std::string, u64> counts_;
  std::map<std::string, First> firsts_;
};

}  // namespace

int upgrade_check(const Told& told) {
  std::string error;
  const std::unique_ptr<ReplayedHub> old_hub = make_wasmtime_hub(told.files[0], error);
  if (old_hub == nullptr) return unusable(told.files[0], error);
  const std::unique_ptr<ReplayedHub> new_hub = make_wasmtime_hub(told.files[1], error);
  if (new_hub == nullptr) return unusable(told.files[1], error);
  return read_trace(told.files[2], [&](Reader& reader) {
    return Check(told, *old_hub, *new_hub).run(told.files[2], reader);
  });
}

}  // namespace sidekick::trace
