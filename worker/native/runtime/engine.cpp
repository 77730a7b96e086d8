#include "runtime/engine.hpp"

#include <nlohmann/json.hpp>

namespace sidekick::host {

Limits limits_of(Engine& engine) {
  const auto config = nlohmann::json::parse(engine.describe()).at("config");
  return {
      .frame_bytes_max = config.at("frame_bytes_max"),
      .clients_max = config.at("clients_max"),
      .client_buffer_bytes_max = config.at("client_buffer_bytes_max"),
      .forward_answer_bytes_max = config.at("forward_answer_bytes_max"),
  };
}

}  // namespace sidekick::host
