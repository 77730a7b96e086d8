// The messages to a node's inbox, in parts: engine.def, SIDEKICK_INBOX_MESSAGE.
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "sidekick/engine.hpp"

namespace sidekick::trace {

struct InboxMessage {
  Bytes name;  ///< empty: none of engine.def
  std::vector<std::pair<EngineKind, Bytes>> fields;
};

/// The last field takes the rest: a token may contain spaces.
inline InboxMessage read_inbox(Bytes body) {
  const std::size_t end = std::min(body.find(' '), body.size());
  const auto* const found =
      std::find_if(std::begin(engine::inbox_messages), std::end(engine::inbox_messages),
                   [&](const EngineInboxMessage& it) { return it.name == body.substr(0, end); });
  if (found == std::end(engine::inbox_messages)) return {};
  InboxMessage message{found->name, {}};
  body.remove_prefix(end);
  for (const EngineField* field = found->fields;
       field->kind != EngineKind::end && body.starts_with(' '); ++field) {
    body.remove_prefix(1);
    const bool is_last = field[1].kind == EngineKind::end;
    const Bytes text = body.substr(0, is_last ? body.size() : body.find(' '));
    message.fields.emplace_back(field->kind, text);
    body.remove_prefix(text.size());
  }
  return message;
}

}  // namespace sidekick::trace
