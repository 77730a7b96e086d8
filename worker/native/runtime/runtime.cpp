#include "runtime/runtime.hpp"

#include <nlohmann/json.hpp>

namespace sidekick::host {

Limits limits_of(Runtime& runtime) {
  const auto config = nlohmann::json::parse(runtime.describe()).at("config");
  return {
      .frame_bytes_max = config.at("frame_bytes_max"),
      .clients_max = config.at("clients_max"),
      .client_buffer_bytes_max = config.at("client_buffer_bytes_max"),
      .forward_answer_bytes_max = config.at("forward_answer_bytes_max"),
  };
}

}  // namespace sidekick::host
