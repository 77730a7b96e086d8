#include "members.hpp"

#include <nlohmann/json.hpp>

namespace sidekick::trace {

using nlohmann::json;

u64 number_of(const json& line, const char* name) {
  const auto at = line.find(name);
  return at != line.end() && at->is_number_unsigned() ? at->get<u64>() : 0;
}

std::string text_of(const json& line, const char* name) {
  const auto at = line.find(name);
  if (at == line.end()) return "";
  return at->is_string() ? at->get<std::string>() : at->dump();
}

Bytes plain_text_of(const json& line, const char* name) {
  const auto at = line.find(name);
  return at != line.end() && at->is_string() ? Bytes(at->get_ref<const std::string&>()) : Bytes();
}

}  // namespace sidekick::trace
