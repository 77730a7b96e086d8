#include "sidekick/border.hpp"

namespace sidekick {

namespace {

#define SIDEKICK_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name)},
#define SIDEKICK_U64(name) Field{#name, FieldKind::u64_word, offsetof(It, name)},
#define SIDEKICK_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name)},
#define SIDEKICK_INPUT(Type, name, number, fields)    \
  struct Type##Shape {                                \
    using It = input::Type;                           \
    static constexpr Field list[] = {fields Field{}}; \
  };
#include "sidekick/border.def"

#define SIDEKICK_U32(name) Field{#name, FieldKind::u32_word, offsetof(It, name)},
#define SIDEKICK_U64(name) Field{#name, FieldKind::u64_word, offsetof(It, name)},
#define SIDEKICK_BYTES(name) Field{#name, FieldKind::bytes, offsetof(It, name)},
#define SIDEKICK_IDS(name) Field{#name, FieldKind::ids, offsetof(It, name)},
#define SIDEKICK_ACTION(Type, name, number, fields)   \
  struct Type##Shape {                                \
    using It = action::Type;                          \
    static constexpr Field list[] = {fields Field{}}; \
  };
#include "sidekick/border.def"

constexpr Shape input_shapes[] = {
#define SIDEKICK_INPUT(Type, name, number, fields) {number, #name, Type##Shape::list},
#include "sidekick/border.def"
};

constexpr Shape action_shapes[] = {
#define SIDEKICK_ACTION(Type, name, number, fields) {number, #name, Type##Shape::list},
#include "sidekick/border.def"
};

const Shape* find(std::span<const Shape> shapes, u32 tag) {
  for (const Shape& shape : shapes) {
    if (shape.tag == tag) return &shape;
  }
  return nullptr;
}

}  // namespace

const Shape* find_input_shape(u32 tag) { return find(input_shapes, tag); }
const Shape* find_action_shape(u32 tag) { return find(action_shapes, tag); }

}  // namespace sidekick
