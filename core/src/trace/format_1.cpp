#include "trace/format_1.hpp"

#include <nlohmann/json.hpp>

namespace sidekick::trace {

namespace {

using nlohmann::json;

constexpr unsigned first_error_status = 400;

/// The message to a client without the wording of its error.
json without_message(const json& text) {
  json message = text.is_string() ? json::parse(text.get_ref<const std::string&>(), nullptr, false)
                                  : json(json::value_t::discarded);
  if (message.is_object() && message.contains("error") && message["error"].is_object())
    message["error"].erase("message");
  return message;
}

/// Removes the wording of an error from an action. Returns false if it tells none.
bool remove_error_text(json& action) {
  const json out = action.value("out", json());
  if (out == "send") {
    json message = without_message(action["text"]);
    if (!message.is_object() || !message.contains("error")) return false;
    action["text"] = std::move(message);
    return true;
  }
  const json status = action.value("status", json());
  if (out == "respond" && status.is_number_unsigned() && status >= first_error_status) {
    action.erase("body");
    return true;
  }
  return out == "close" && action.erase("reason") > 0;
}

}  // namespace

/// A recording may hold anything: its line need not be one that any version has written.
ChangeSince1 change_since_1(Bytes recorded, Bytes now) {
  json before = json::parse(recorded, nullptr, false);
  json after = json::parse(now, nullptr, false);
  if (!before.is_object() || !after.is_object()) return ChangeSince1::none;
  if (before.contains("hash") && after.contains("hash")) {
    for (json* line : {&before, &after}) {
      if ((*line)["hash"].is_object()) (*line)["hash"].erase("lines");
    }
    return before == after ? ChangeSince1::lines_hash : ChangeSince1::none;
  }
  const bool are_errors = remove_error_text(before) && remove_error_text(after);
  return are_errors && before == after ? ChangeSince1::error_text : ChangeSince1::none;
}

}  // namespace sidekick::trace
