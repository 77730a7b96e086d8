#include "redact/engine_texts.hpp"

#include <algorithm>
#include <iterator>

#include "base/numbers.hpp"
#include "sidekick/text.hpp"

namespace sidekick::trace {

namespace {

constexpr u32 digits_max = 16;  // of a stamp
/// The values of kind `word` that are no numbers.
constexpr Bytes words[] = {"ok", "held", "none", "all", "lost"};

bool is_number(Bytes text) {
  u64 number = 0;
  return decode_number(text, 10, digits_max, number);
}

u32 count_until_group(const EngineField* fields) {
  u32 single = 0;
  while (fields[single].kind != EngineKind::end && !fields[single].is_repeated) ++single;
  return single;
}

u32 size_of_group(const EngineField* fields) {
  fields += count_until_group(fields);
  u32 group = 0;
  while (fields[group].kind != EngineKind::end) ++group;
  return group;
}

}  // namespace

void EngineTexts::begin_calls(const Actions& original, const Actions& copy) {
  for (const Action& action : original) {
    if (action.tag != ActionTag::engine_run) continue;
    const action::EngineRun& run = action.engine_run;
    Call call{find_engine_script(run.script), run.shard, {}};
    const auto other = std::find_if(copy.begin(), copy.end(), [&run](const Action& it) {
      return it.tag == ActionTag::engine_run && it.engine_run.call == run.call;
    });
    if (call.script != nullptr && other != copy.end())
      call.places = places_of(run, other->engine_run);
    calls_[run.call] = std::move(call);
  }
}

void EngineTexts::end_calls(u32 shard) {
  std::erase_if(calls_, [shard](const auto& call) { return call.second.shard == shard; });
}

/// By the first argument of each group: a topic or a token.
std::vector<u32> EngineTexts::places_of(const action::EngineRun& original,
                                        const action::EngineRun& copy) {
  const EngineField* fields = find_engine_script(original.script)->arguments;
  const u32 single = count_until_group(fields);
  const u32 group = size_of_group(fields);
  if (group == 0 || original.args.size() != copy.args.size()) return {};
  std::unordered_map<std::string, u32> place_of;
  for (u32 at = single; at < copy.args.size(); at += group)
    place_of.emplace(copy.args[at], (at - single) / group);
  std::vector<u32> places;
  bool is_same = true;
  for (u32 at = single; at < original.args.size(); at += group) {
    const u32 place = static_cast<u32>(places.size());
    const auto found = place_of.find(value(fields[single].kind, original.args[at]));
    places.push_back(found == place_of.end() ? place : found->second);
    is_same &= places.back() == place;
  }
  if (is_same) places.clear();
  return places;
}

std::vector<std::string> EngineTexts::answer(const input::EngineAnswer& in) {
  const auto at = calls_.find(in.call);
  const Call call = at == calls_.end() ? Call{} : std::move(at->second);
  if (at != calls_.end()) calls_.erase(at);
  std::vector<std::string> values;
  if (call.script == nullptr || in.status != 0) {
    for (const Bytes text : in.values) values.push_back(redacted_.document(text));
    return values;
  }
  for (u32 i = 0; i < in.values.size(); ++i)
    values.push_back(value(engine_field_at(call.script->values, i).kind, in.values[i]));
  if (call.places.empty()) return values;

  // The group of a value is its index in the list, or the value itself.
  const u32 single = count_until_group(call.script->values);
  if (call.script->name == "reclaim" && values.size() == call.places.size()) {
    std::vector<std::string> moved(values.size());
    for (u32 i = 0; i < values.size(); ++i) moved[call.places[i]] = std::move(values[i]);
    return moved;
  }
  if (call.script->name != "changed" || values.size() <= single) return values;
  std::vector<u64> indices;
  for (u32 i = single; i < values.size(); ++i) {
    u64 index = 0;
    if (!decode_number(values[i], 10, digits_max, index) || index >= call.places.size())
      return values;
    indices.push_back(call.places[index]);
  }
  std::sort(indices.begin(), indices.end());
  for (u32 i = single; i < values.size(); ++i) values[i] = compose({Digits(indices[i - single])});
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

/// The last field takes the rest: a token may contain spaces.
std::string EngineTexts::inbox(Bytes body) {
  const std::size_t end = std::min(body.find(' '), body.size());
  const auto* const message =
      std::find_if(std::begin(engine::inbox_messages), std::end(engine::inbox_messages),
                   [&](const EngineInboxMessage& it) { return it.name == body.substr(0, end); });
  if (message == std::end(engine::inbox_messages)) return redacted_.document(body);
  std::string out(message->name);
  Bytes left = body.substr(end);
  for (const EngineField* field = message->fields;
       field->kind != EngineKind::end && left.starts_with(' '); ++field) {
    left.remove_prefix(1);
    const bool is_last = field[1].kind == EngineKind::end;
    const Bytes text = left.substr(0, is_last ? left.size() : left.find(' '));
    out += ' ';
    out += value(field->kind, text);
    left.remove_prefix(text.size());
  }
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
