#include "wasmtime_hub.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "sidekick_module.hpp"

namespace sidekick::trace {

namespace {

std::string in_brackets(const std::string& text) { return "(" + text + ")\n"; }

/// wasmtime's errors have several.
std::string in_one_line(const std::exception& error) {
  std::string line;
  for (const char c : std::string_view(error.what())) {
    const bool is_space = c == ' ' || c == '\n' || c == '\t';
    if (!is_space) line += c;
    if (is_space && !line.empty() && line.back() != ' ') line += ' ';
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

class WasmtimeHub final : public ReplayedHub {
 public:
  /// Throws where it is no module of ours: it must make a hub.
  explicit WasmtimeHub(const std::vector<std::uint8_t>& wasm)
      : engine_(SidekickModule::make_engine()), module_(compiled(engine_, wasm)) {
    SidekickModule(engine_, module_, R"({"hash_seed":"0000000000000000","secrets":["x"]})");
  }

  /// Nothing is thrown at a caller, who may be built without exceptions.
  void open(const std::string& config_text, const Config&) override {
    hub_.reset();
    wrong_.clear();
    try {
      hub_.emplace(engine_, module_, config_text);
      hub_->record(true);
    } catch (const std::exception& error) {
      hub_.reset();
      wrong_ = in_one_line(error);
    }
  }

  void append_lines(std::string& out, Millis now, const Input& input) override {
    if (!hub_) {
      out += in_brackets(wrong_);
      return;
    }
    try {
      hub_->handle(now, input);
      const std::string_view lines = hub_->recorded();
      out +=
          lines.substr(0, lines.find("{\"hash\":{"));  // the trace says where hashes are compared
    } catch (const SidekickTrap& trap) {
      wrong_ = in_one_line(trap);
      out += in_brackets("the module trapped: " +
                         wrong_);  // a difference, unless the recording hub trapped as well
    }
  }

  std::string hash_line() override {
    if (!hub_) return in_brackets(wrong_);
    try {
      return std::string(hub_->hash());
    } catch (const SidekickTrap& trap) {
      wrong_ = in_one_line(trap);
      return in_brackets("the module trapped: " + wrong_);
    }
  }

  std::string wrong() const override { return wrong_; }

  std::string state() override {
    if (!hub_) return wrong_;
    try {
      for (const Action& action : hub_->handle(0, health_request())) {
        if (action.tag == ActionTag::respond) return std::string(action.respond.body);
      }
    } catch (const SidekickTrap&) {
    }
    return "silent";
  }

 private:
  static wasmtime::Module compiled(wasmtime::Engine& engine,
                                   const std::vector<std::uint8_t>& wasm) {
    auto module = wasmtime::Module::compile(engine, const_cast<std::vector<std::uint8_t>&>(wasm));
    if (!module) throw std::runtime_error(module.err().message());
    return module.ok();
  }

  wasmtime::Engine engine_;
  wasmtime::Module module_;
  std::optional<SidekickModule> hub_;
  std::string wrong_;  // why there is none, or none any more
};

}  // namespace

std::unique_ptr<ReplayedHub> make_wasmtime_hub(const std::string& path, std::string& error) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    error = std::string("cannot be opened: ") + std::strerror(errno);
    return nullptr;
  }
  try {
    return std::make_unique<WasmtimeHub>(
        std::vector<std::uint8_t>{std::istreambuf_iterator<char>(file), {}});
  } catch (const std::exception& wrong) {
    error = std::string("expected a WebAssembly module of Sidekick: ") + in_one_line(wrong);
    return nullptr;
  }
}

}  // namespace sidekick::trace
