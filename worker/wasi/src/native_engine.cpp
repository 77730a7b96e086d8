// The core linked in: for measuring what the sandbox costs, and for running the whole server under sanitizers. A trap of this one
// ends the process.
#include "engine.hpp"
#include "errors.hpp"
#include "sidekick/trace.hpp"

namespace sidekick::host {

namespace {

class NativeEngine final : public Engine {
 public:
  explicit NativeEngine(Config config) : hub_(std::move(config)) {}

  std::span<const Action> handle(Millis now, const Input& input) override {
    hub_.handle(now, input, actions_);
    recorded_.clear();
    if (is_recording_) {
      trace::append_input(recorded_, hub_, now, input);
      for (const Action& action : actions_) trace::append_action(recorded_, action);
    }
    return {actions_.begin(), actions_.end()};
  }

  u32 body_bytes_max(Bytes method, Bytes path, Bytes authorization) override { return hub_.body_bytes_max(method, path, authorization); }

  Bytes describe() override {
    recorded_.clear();
    trace::append_header(recorded_, hub_.config());
    return recorded_;
  }
  void record(bool on) override { is_recording_ = on; }
  Bytes recorded() override { return recorded_; }
  Bytes record_input(Millis now, const Input& input) override {
    recorded_.clear();
    trace::append_input(recorded_, hub_, now, input);
    return recorded_;
  }

 private:
  Hub hub_;
  Actions actions_;
  bool is_recording_ = false;
  std::string recorded_;
};

}  // namespace

CreateEngine native_engine() {
  return [](Bytes text) -> std::unique_ptr<Engine> {
    Config config;
    const std::string wrong = decode_config(text, config);
    if (!wrong.empty()) throw ConfigError(wrong);
    return std::make_unique<NativeEngine>(std::move(config));
  };
}

}  // namespace sidekick::host
