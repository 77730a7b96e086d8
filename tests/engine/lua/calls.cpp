#include "calls.hpp"

#include <algorithm>

namespace sidekick::lua {

namespace {

const Texts named_nodes{"A", "B", "C", "A", "B", "C", "D", "-"};  // D is never attached
const Texts tokens{"T", "U", std::string("V\0\r\n", 4), ""};
const Texts sessions{"s1", "s2", "", "-"};
const Texts texts{"", "one", "0123456789", std::string("\0\r\n\xff", 4)};
const Texts spans_ms{"0", "1", "2", "3", "5", "10", "50", "1000", "9007199254740991"};
const Texts counts{"0", "1", "2", "3", "5", "100"};
const Texts sizes{"0", "1", "3", "9", "10", "20", "1000"};

}  // namespace

Calls::Calls(Dice& dice)
    : dice_(dice), is_lasting_(dice.chance(600)), names_count_(dice.between(1, 4)) {
  for (u32 script = 0; script < std::size(engine::scripts); ++script)
    deck_.insert(deck_.end(), dice_.chance(200) ? 0 : dice_.between(1, 10), script);
  if (deck_.empty()) deck_.push_back(0);
}

Calls::Call Calls::next(u64 now_us) {
  now_us_ = now_us;
  const u32 card = dice_.below(static_cast<u32>(deck_.size()));
  const EngineScript& script = engine::scripts[deck_[card]];
  if (script.name == "sync" && dice_.chance(600)) return sync(one_of(nodes));
  return {script.name, arguments(script)};
}

Calls::Call Calls::sync(const std::string& node) {
  const Known& known = known_[node];
  return {"sync",
          {node, "e" + std::to_string(++epochs_), known.epoch, known.server,
           dice_.chance(500) ? known.top : stamp()}};
}

void Calls::note(const Call& call, const Shard::Answer& answer) {
  if (answer.status != 0) return;
  if (call.script == "sync") {
    if (epochs_seen_.back() != answer.values[0]) epochs_seen_.push_back(answer.values[0]);
    stamps_seen_.push_back(answer.values[2]);
    known_[call.args[0]] = {answer.values[0], answer.values[1], answer.values[2]};
  }
  if (call.script == "update" || call.script == "message") {
    stamps_seen_.push_back(answer.values[0]);
    known_[one_of(nodes)].top = answer.values[0];
  }
}

const std::string& Calls::one_of(const Texts& list) {
  return list[dice_.below(static_cast<u32>(list.size()))];
}

/// In some seeds, the larger ones: then less expires and is forgotten.
const std::string& Calls::few_of(const Texts& list) {
  const u32 count = static_cast<u32>(list.size());
  return list[is_lasting_ ? count - 1 - dice_.below(dice_.chance(50) ? count : 2)
                          : dice_.below(count)];
}

Texts Calls::arguments(const EngineScript& script) {
  Texts args;
  u32 single = 0;
  for (; script.arguments[single].kind != EngineKind::end; ++single) {
    if (script.arguments[single].is_repeated) break;
    args.push_back(argument(script.arguments[single]));
  }
  if (script.arguments[single].kind == EngineKind::end) return args;
  for (u32 groups = dice_.between(1, 4); groups > 0; --groups) {
    for (u32 i = single; script.arguments[i].kind != EngineKind::end; ++i)
      args.push_back(argument(script.arguments[i]));
  }
  return args;
}

std::string Calls::argument(const EngineField& field) {
  switch (field.kind) {
    case EngineKind::token:
      return tokens[dice_.below(names_count_)];
    case EngineKind::session:
      return one_of(sessions);
    case EngineKind::record:
    case EngineKind::text:
      return one_of(texts);
    case EngineKind::topic:
      return topics[dice_.below(names_count_)];
    case EngineKind::node:
      return one_of(named_nodes);
    case EngineKind::epoch:
      if (field.name == "unused_epoch") return "e" + std::to_string(++epochs_);
      return dice_.chance(900) ? epochs_seen_.back() : one_of(epochs_seen_);
    case EngineKind::server:
      return dice_.chance(700) ? servers_seen_.back() : one_of(servers_seen_);
    case EngineKind::since:
      if (dice_.chance(50)) return "";
      if (dice_.chance(200)) return "-" + std::to_string(dice_.between(1, 3000));
      if (dice_.chance(200)) return look_back();
      return stamp();
    case EngineKind::stamp:
      return stamp();
    case EngineKind::number:
      if (field.name == "bytes_max") return one_of(sizes);
      return few_of(field.name.ends_with("_ms") ? spans_ms : counts);
    case EngineKind::word:
    case EngineKind::end:
      break;
  }
  trap();
}

/// One that was seen, or is near a limit.
std::string Calls::stamp() {
  if (dice_.chance(100)) return std::to_string(now_us_ + 999'999 + dice_.below(3));
  const std::size_t recent = std::min<std::size_t>(stamps_seen_.size(), 12);
  const std::size_t back = 1 + dice_.below(static_cast<u32>(recent));
  const u64 seen = std::stoull(stamps_seen_[stamps_seen_.size() - back]);
  return std::to_string(dice_.chance(700) || seen == 0 ? seen : seen - 1 + dice_.below(3));
}

/// To a stamp that was seen, in milliseconds.
std::string Calls::look_back() {
  const u64 seen = std::stoull(stamp());
  const u64 span_ms = seen < now_us_ ? (now_us_ - seen) / 1000 : 0;
  return "-" + std::to_string(std::max<u64>(span_ms + dice_.below(3), 2) - 1);
}

}  // namespace sidekick::lua
