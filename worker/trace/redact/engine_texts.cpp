#include "redact/engine_texts.hpp"

#include <algorithm>
#include <iterator>

#include "base/numbers.hpp"
#include "inbox.hpp"

namespace sidekick::trace {

namespace {

constexpr u32 digits_max = 16;  // of a stamp
constexpr Bytes memory_full = "OOM";
/// The values of kind `word` that are no numbers.
constexpr Bytes words[] = {"ok", "held", "none", "all", "lost"};

bool is_number(Bytes text) {
  u64 number = 0;
  return decode_number(text, 10, digits_max, number);
}

}  // namespace

void EngineTexts::begin_calls(const Actions& actions) {
  for (const Action& action : actions) {
    if (action.tag != ActionTag::engine_run) continue;
    const action::EngineRun& run = action.engine_run;
    calls_[run.call] = {find_engine_script(run.script), run.shard};
  }
}

void EngineTexts::end_calls(u32 shard) {
  std::erase_if(calls_, [shard](const auto& call) { return call.second.shard == shard; });
}

std::vector<std::string> EngineTexts::answer(const input::EngineAnswer& in) {
  const auto at = calls_.find(in.call);
  const EngineScript* script = at == calls_.end() ? nullptr : at->second.script;
  if (at != calls_.end()) calls_.erase(at);
  std::vector<std::string> values;
  for (const Bytes text : in.values) {
    // The core asks whether a refusal begins so.
    if (in.status != 0 && text.starts_with(memory_full)) {
      values.push_back(compose({memory_full, redacted_.document(text.substr(memory_full.size()))}));
      continue;
    }
    const bool is_known = script != nullptr && in.status == 0;
    const u32 index = static_cast<u32>(values.size());
    values.push_back(
        value(is_known ? engine_field_at(script->values, index).kind : EngineKind::end, text));
  }
  return values;
}

std::string EngineTexts::body(Bytes topic, Bytes body) {
  if (topic.empty()) return inbox(body);
  const std::size_t end = std::min(body.find(' '), body.size());
  if (!is_number(body.substr(0, end))) return redacted_.document(body);
  std::string out(body.substr(0, end));
  if (end == body.size()) return out;
  return out + " " + value(EngineKind::text, body.substr(end + 1));
}

std::string EngineTexts::inbox(Bytes body) {
  const InboxMessage message = read_inbox(body);
  if (message.name.empty()) return redacted_.document(body);
  std::string out(message.name);
  for (const auto& [kind, text] : message.fields) out += " " + value(kind, text);
  return out;
}

/// A text that is not of its kind may be anything.
std::string EngineTexts::value(EngineKind kind, Bytes text) {
  const auto kept_if = [&](bool is_of_kind) {
    return is_of_kind ? std::string(text) : redacted_.document(text);
  };
  switch (kind) {
    case EngineKind::token:
      return redacted_.token(text);
    case EngineKind::session:
      return redacted_.session(text);
    case EngineKind::topic:
      return redacted_.topic(text);
    case EngineKind::epoch:
      return text.empty() || text == "-" ? std::string(text) : redacted_.epoch(text);
    case EngineKind::server:
      return redacted_.text(text);
    case EngineKind::node:
      return kept_if(text.size() == 16 &&
                     text.find_first_not_of("0123456789abcdef") == Bytes::npos);
    case EngineKind::stamp:
    case EngineKind::number:
      return kept_if(is_number(text));
    case EngineKind::since:
      return kept_if(text.empty() || is_number(text.substr(text.starts_with('-') ? 1 : 0)));
    case EngineKind::word:
      return kept_if(is_number(text) ||
                     std::find(std::begin(words), std::end(words), text) != std::end(words));
    case EngineKind::record:
    case EngineKind::text:
    case EngineKind::end:
      return redacted_.document(text);
  }
  trap();
}

}  // namespace sidekick::trace
