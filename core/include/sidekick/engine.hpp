// The scripts of the engine and the messages to a node's inbox as data, from engine.def.
#pragma once

#include <algorithm>
#include <span>

#include "sidekick/base.hpp"

namespace sidekick {

enum class EngineKind : u8 {
  end,
  token,
  session,
  record,
  topic,
  text,
  node,
  epoch,
  server,
  stamp,
  since,
  number,
  word,
};

/// Of all arguments, values or fields, the last ones may be a group that is repeated until the end.
struct EngineField {
  Bytes name;
  EngineKind kind = EngineKind::end;
  bool is_repeated = false;
};

struct EngineScript {
  Bytes name;
  bool is_repeatable;
  Bytes flags;                   ///< of the script in Redis, separated by commas
  const EngineField* arguments;  ///< terminated by a field of kind end, as all others
  const EngineField* values;
};

struct EngineInboxMessage {
  Bytes name;
  const EngineField* fields;
};

namespace engine {
#define SIDEKICK_ONE(kind, name) EngineField{#name, EngineKind::kind, false},
#define SIDEKICK_EACH(kind, name) EngineField{#name, EngineKind::kind, true},
#define SIDEKICK_SCRIPT(name, is_repeatable, flags, arguments, values)         \
  inline constexpr EngineField name##_arguments[] = {arguments EngineField{}}; \
  inline constexpr EngineField name##_values[] = {values EngineField{}};
#define SIDEKICK_INBOX_MESSAGE(name, fields) \
  inline constexpr EngineField name##_fields[] = {fields EngineField{}};
#include "sidekick/engine.def"

inline constexpr EngineScript scripts[] = {
#define SIDEKICK_SCRIPT(name, is_repeatable, flags, arguments, values) \
  {#name, is_repeatable != 0, flags, name##_arguments, name##_values},
#include "sidekick/engine.def"
};

inline constexpr EngineInboxMessage inbox_messages[] = {
#define SIDEKICK_INBOX_MESSAGE(name, fields) {#name, name##_fields},
#include "sidekick/engine.def"
};
}  // namespace engine

/// Returns the script of this name, or nullptr.
inline const EngineScript* find_engine_script(Bytes name) {
  const auto* const at = std::find_if(std::begin(engine::scripts), std::end(engine::scripts),
                                      [name](const EngineScript& it) { return it.name == name; });
  return at == std::end(engine::scripts) ? nullptr : at;
}

/// Returns the field of the argument or value at `index`, or the one of kind `end` if there is
/// none.
constexpr const EngineField& engine_field_at(const EngineField* fields, u32 index) {
  u32 single = 0;
  for (; fields[single].kind != EngineKind::end && !fields[single].is_repeated; ++single) {
    if (single == index) return fields[single];
  }
  u32 group = 0;
  while (fields[single + group].kind != EngineKind::end) ++group;
  return fields[group == 0 ? single : single + (index - single) % group];
}

/// Whether so many arguments can be those of a script: all single ones, then one or more whole
/// groups if it has groups.
constexpr bool is_engine_count(const EngineField* fields, u32 count) {
  u32 single = 0;
  while (fields[single].kind != EngineKind::end && !fields[single].is_repeated) ++single;
  u32 group = 0;
  while (fields[single + group].kind != EngineKind::end) ++group;
  return group == 0 ? count == single : count > single && (count - single) % group == 0;
}

}  // namespace sidekick
