// sidekick-replay-example MODULE.wasm TRACE...: replays traces with the example in C++ that
// docs/embedding.md shows.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "replay_files.hpp"
#include "sidekick_module.hpp"

namespace {

class ExampleHub final : public sidekick::trace::ReplayedHub {
 public:
  explicit ExampleHub(const std::string& wasm)
      : engine_(SidekickModule::make_engine()), module_(SidekickModule::compile(*engine_, wasm)) {}

  void open(const std::string& config_text, const sidekick::Config&,
            sidekick::u32 format) override {
    hub_.emplace(*engine_, *module_, config_text);
    hub_->record(format);
  }
  void append_lines(std::string& out, sidekick::Millis now, const sidekick::Input& input) override {
    try {
      hub_->handle(now, input);
    } catch (const SidekickTrap& trap) {
      out += std::string("(the module trapped: ") + trap.what() + ")\n";
      return;
    }
    const std::string_view lines = hub_->recorded();
    out += lines.substr(0, lines.find("{\"hash\":{"));
  }
  std::string hash_line() override { return std::string(hub_->hash()); }
  std::string metrics() override { return std::string(hub_->metrics()); }
  std::string state() override {
    for (const sidekick::Action& action : hub_->handle(0, sidekick::trace::health_request())) {
      if (action.tag == sidekick::ActionTag::respond) return std::string(action.respond.body);
    }
    return "silent";
  }

 private:
  WasmtimeOwned<wasm_engine_t> engine_;
  WasmtimeOwned<wasmtime_module_t> module_;
  std::optional<SidekickModule> hub_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: sidekick-replay-example MODULE.wasm TRACE...\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  ExampleHub hub(std::string(std::istreambuf_iterator<char>(file), {}));
  return sidekick::trace::replay_files(argc - 2, argv + 2, hub);
}
