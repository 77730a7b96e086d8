// The core itself under replay. Owns one hub.
#pragma once

#include <memory>

#include "sidekick/trace.hpp"
#include "trace/replay.hpp"

namespace sidekick::trace {

class CoreHub final : public ReplayedHub {
 public:
  void open(const std::string&, const Config& config, u32 format) override {
    hub_ = std::make_unique<Hub>(config);
    recording_ = Recording(format);
  }

  void append_lines(std::string& out, Millis now, const Input& input) override {
    hub_->handle(now, input, actions_);
    recording_.append(out, *hub_, now, input, actions_);
  }

  std::string hash_line() override {
    std::string line;
    recording_.append_hash(line, *hub_);
    return line;
  }

  std::string metrics() override {
    std::string text;
    if (hub_ != nullptr) hub_->append_metrics(text);
    return text;
  }

  std::string state() override {
    hub_->handle(0, health_request(), actions_);
    for (const Action& action : actions_) {
      if (action.tag == ActionTag::respond) return std::string(action.respond.body);
    }
    return "silent";
  }

 private:
  std::unique_ptr<Hub> hub_;
  Recording recording_;
  Actions actions_;
};

}  // namespace sidekick::trace
