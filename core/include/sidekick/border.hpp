// Inputs and actions as C++ types, generated from border.def.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sidekick/base.hpp"
#include "sidekick/text.hpp"

namespace sidekick {

enum class InputTag : u32 {
#define SIDEKICK_INPUT(Type, name, number, fields) name = number,
#include "sidekick/border.def"
};

enum class ActionTag : u32 {
#define SIDEKICK_ACTION(Type, name, number, fields) name = number,
#include "sidekick/border.def"
};

/// A code of errors.def.
enum class ErrorCode : u32 {
#define SIDEKICK_ERROR(name, number, level, meaning) name = number,
#include "sidekick/errors.def"
};

Bytes name_of(ErrorCode code);
/// Whether a host warns its operator when it tells a peer this.
bool is_warned(ErrorCode code);

/// The outcome of a forward.
enum class Outcome : u32 {
#define SIDEKICK_OUTCOME(name, number) name = number,
#include "sidekick/border.def"
};

/// The verdict of Hub::admit on a request.
enum class VerdictKind : u32 {
#define SIDEKICK_VERDICT(name, number) name = number,
#include "sidekick/border.def"
};

inline constexpr Bytes request_headers[] = {
#define SIDEKICK_REQUEST_HEADER(name) name,
#include "sidekick/border.def"
};

#define SIDEKICK_NUMBER(name, value) inline constexpr u32 name = value;
#include "sidekick/border.def"

namespace input {
#define SIDEKICK_U32(name) u32 name = 0;
#define SIDEKICK_U64(name) u64 name = 0;
#define SIDEKICK_BYTES(name) Bytes name{};
#define SIDEKICK_LIST(name) std::span<const Bytes> name{};
#define SIDEKICK_INPUT(Type, name, number, fields) \
  struct Type {                                    \
    fields                                         \
  };
#include "sidekick/border.def"
}  // namespace input

namespace action {
#define SIDEKICK_U32(name) u32 name = 0;
#define SIDEKICK_U64(name) u64 name = 0;
#define SIDEKICK_BYTES(name) Bytes name{};
#define SIDEKICK_LIST(name) std::span<const Bytes> name{};
#define SIDEKICK_IDS(name) std::span<const u32> name{};
#define SIDEKICK_CODE(name) ErrorCode name{};
#define SIDEKICK_ACTION(Type, name, number, fields) \
  struct Type {                                     \
    fields                                          \
  };
#include "sidekick/border.def"
}  // namespace action

/// One of the inputs. The bytes it points to belong to the caller and must live until the call
/// returns.
struct Input {
  InputTag tag;
  union {
#define SIDEKICK_INPUT(Type, name, number, fields) input::Type name;
#include "sidekick/border.def"
  };

#define SIDEKICK_INPUT(Type, name, number, fields) \
  Input(const input::Type& value) : tag(InputTag::name), name(value) {}
#include "sidekick/border.def"
};

/// One of the actions. The bytes it points to are valid until the next call on the hub that added
/// it.
struct Action {
  ActionTag tag;
  union {
#define SIDEKICK_ACTION(Type, name, number, fields) action::Type name;
#include "sidekick/border.def"
  };

#define SIDEKICK_ACTION(Type, name, number, fields) \
  Action(const action::Type& value) : tag(ActionTag::name), name(value) {}
#include "sidekick/border.def"
};

/// The shapes of inputs and actions as data, so that the WASM border and the traces iterate over
/// fields instead of listing them again.
enum class FieldKind : u8 { end, u32_word, u64_word, bytes, list, ids, code };

struct Field {
  Bytes name;
  FieldKind kind = FieldKind::end;
  u32 offset = 0;  ///< within the struct of the input or action
  u32 since = 1;   ///< the format of traces that it came with
};

struct Shape {
  u32 tag = 0;
  Bytes name;
  const Field* fields = nullptr;  ///< terminated by a field of kind end
  u32 since = 1;                  ///< the format of traces that it came with
};

/// Returns the shape with this tag, or nullptr.
const Shape* find_input_shape(u32 tag);
const Shape* find_action_shape(u32 tag);

/// Returns the address of the struct that an input or action holds: all members of the union share
/// it.
inline const char* fields_of(const Input& input) {
  return reinterpret_cast<const char*>(&input.timer_fired);
}
inline char* fields_of(Input& input) { return reinterpret_cast<char*>(&input.timer_fired); }
inline const char* fields_of(const Action& action) {
  return reinterpret_cast<const char*>(&action.send);
}

template <class T>
const T& field_at(const char* fields, const Field& field) {
  return *reinterpret_cast<const T*>(fields + field.offset);
}

/// The consequences of one input, in the order in which the host must perform them, and the texts
/// they point to.
class Actions {
 public:
  void clear() {
    list_.clear();
    if (!lists_.empty()) lists_.clear();
    text_.reset();
  }
  void add(const Action& action) { list_.push_back(action); }

  TextArena& text() { return text_; }

  /// Returns a copy of the views for a LIST field.
  std::span<const Bytes> list(std::span<const Bytes> views) {
    return lists_.emplace_back(views.begin(), views.end());
  }

  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  u32 size() const { return static_cast<u32>(list_.size()); }
  bool empty() const { return list_.empty(); }
  const Action& operator[](u32 index) const { return list_[index]; }
  std::span<const Action> all() const { return list_; }

 private:
  std::vector<Action> list_;
  std::vector<std::vector<Bytes>> lists_;  // the inner ones do not move
  TextArena text_;
};

}  // namespace sidekick
