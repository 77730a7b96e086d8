#include "sidekick/border.hpp"

namespace sidekick {

namespace {

#define SIDEKICK_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name), 1},
#define SIDEKICK_U64(name) Field{#name, FieldKind::u64_word, offsetof(It, name), 1},
#define SIDEKICK_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name), 1},
#define SIDEKICK_LIST(name) Field{#name, FieldKind::list, offsetof(It, name), 2},
#define SIDEKICK_NEW_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name), 2},
#define SIDEKICK_NEW_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name), 2},
#define SIDEKICK_INPUT(Type, name, number, fields)    \
  struct Type##Shape {                                \
    using It = input::Type;                           \
    static constexpr Field list[] = {fields Field{}}; \
  };
#include "sidekick/border.def"

#define SIDEKICK_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name), 1},
#define SIDEKICK_U64(name) Field{#name, FieldKind::u64_word, offsetof(It, name), 1},
#define SIDEKICK_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name), 1},
#define SIDEKICK_LIST(name) Field{#name, FieldKind::list, offsetof(It, name), 2},
#define SIDEKICK_IDS(name) Field{#name, FieldKind::ids, offsetof(It, name), 1},
#define SIDEKICK_CODE(name) Field{#name, FieldKind::code, offsetof(It, name), 2},
#define SIDEKICK_NEW_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name), 2},
#define SIDEKICK_NEW_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name), 2},
#define SIDEKICK_ACTION(Type, name, number, fields)   \
  struct Type##Shape {                                \
    using It = action::Type;                          \
    static constexpr Field list[] = {fields Field{}}; \
  };
#include "sidekick/border.def"

constexpr Shape input_shapes[] = {
#define SIDEKICK_INPUT(Type, name, number, fields) {number, #name, Type##Shape::list, 1},
#define SIDEKICK_NEW_INPUT(Type, name, number, fields) {number, #name, Type##Shape::list, 2},
#include "sidekick/border.def"
};

constexpr Shape action_shapes[] = {
#define SIDEKICK_ACTION(Type, name, number, fields) {number, #name, Type##Shape::list, 1},
#define SIDEKICK_NEW_ACTION(Type, name, number, fields) {number, #name, Type##Shape::list, 2},
#include "sidekick/border.def"
};

constexpr Bytes error_names[] = {
#define SIDEKICK_ERROR(name, number, level, meaning) #name,
#include "sidekick/errors.def"
};
// An index into error_names.
#define SIDEKICK_ERROR(name, number, level, meaning) static_assert(error_names[number] == #name);
#include "sidekick/errors.def"

const Shape* find(std::span<const Shape> shapes, u32 tag) {
  for (const Shape& shape : shapes) {
    if (shape.tag == tag) return &shape;
  }
  return nullptr;
}

}  // namespace

const Shape* find_input_shape(u32 tag) { return find(input_shapes, tag); }
const Shape* find_action_shape(u32 tag) { return find(action_shapes, tag); }
// A module of a later version may know more codes.
Bytes name_of(ErrorCode code) {
  const u32 number = static_cast<u32>(code);
  return number < std::size(error_names) ? error_names[number] : "unknown";
}

bool is_warned(ErrorCode code) {
  enum class Level : u8 { debug, warn };
  constexpr Level levels[] = {
#define SIDEKICK_ERROR(name, number, level, meaning) Level::level,
#include "sidekick/errors.def"
  };
  const u32 number = static_cast<u32>(code);
  return number < std::size(levels) && levels[number] == Level::warn;
}

}  // namespace sidekick
