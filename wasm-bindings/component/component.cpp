// The border as a WIT interface (wit/sidekick.wit): translates between wit-bindgen's types and the
// core's. Makes no decisions. Every text is copied, as the component model requires; for less
// overhead use the raw module (sidekick_abi.h).
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "bindings/sidekick.h"
#include "sidekick/trace.hpp"

using namespace sidekick;

#define WIT(name) exports_sidekick_core_hub_api_##name

struct WIT(hub_t) {
  explicit WIT(hub_t)(Config config) : hub(std::move(config)) {}

  Hub hub;
  Actions actions;
  u32 recording_format = 0;  // 0: off
  std::string recorded;
  trace::Recording recording;
};

namespace {

// The cases of a variant are numbered in the order of border.def.
enum InputCase : u8 {
#define SIDEKICK_INPUT(Type, name, tag, fields) input_##name,
#include "sidekick/border.def"
};
enum ActionCase : u8 {
#define SIDEKICK_ACTION(Type, name, tag, fields) action_##name,
#include "sidekick/border.def"
};

Bytes view(const sidekick_list_u8_t& list) {
  return Bytes(reinterpret_cast<const char*>(list.ptr), list.len);
}
Bytes view(const sidekick_string_t& text) {
  return Bytes(reinterpret_cast<const char*>(text.ptr), text.len);
}

/// A copy for the caller, which frees it through the generated code. Empty lists have no memory.
template <class T>
T* copied(const T* from, std::size_t count) {
  if (count == 0) return nullptr;
  T* to = static_cast<T*>(std::malloc(count * sizeof(T)));
  std::memcpy(to, from, count * sizeof(T));
  return to;
}

void give(sidekick_string_t& to, Bytes text) {
  to = {copied(reinterpret_cast<const u8*>(text.data()), text.size()), text.size()};
}
void give(sidekick_list_u8_t& to, Bytes text) {
  to = {copied(reinterpret_cast<const u8*>(text.data()), text.size()), text.size()};
}
void give(sidekick_list_u32_t& to, std::span<const u32> ids) {
  to = {copied(ids.data(), ids.size()), ids.size()};
}

void give(sidekick_list_list_u8_t& to, std::span<const Bytes> list) {
  to = {nullptr, list.size()};
  if (to.len > 0) to.ptr = static_cast<sidekick_list_u8_t*>(std::malloc(to.len * sizeof *to.ptr));
  for (std::size_t i = 0; i < to.len; ++i) give(to.ptr[i], list[i]);
}

Input decode_input(const WIT(input_t) & from_wit, std::vector<Bytes>& list) {
  // A case without fields has no member in the union: only a dependent name may refer to it.
  auto decode = [&list](const auto& cases, u8 number) -> Input {
    switch (static_cast<InputCase>(number)) {
#define SIDEKICK_U32(field) it.field = from.field;
#define SIDEKICK_U64(field) it.field = from.field;
#define SIDEKICK_BYTES(field) it.field = view(from.field);
#define SIDEKICK_LIST(field)                                                                \
  for (std::size_t i = 0; i < from.field.len; ++i) list.push_back(view(from.field.ptr[i])); \
  it.field = list;
#define SIDEKICK_INPUT(Type, name, tag, fields)       \
  case input_##name: {                                \
    input::Type it;                                   \
    if constexpr (requires { cases.name; }) {         \
      [[maybe_unused]] const auto& from = cases.name; \
      fields                                          \
    }                                                 \
    return it;                                        \
  }
#include "sidekick/border.def"
    }
    trap();
  };
  return decode(from_wit.val, from_wit.tag);
}

void encode_action(WIT(action_t) & to_wit, const Action& action) {
  switch (action.tag) {
#define SIDEKICK_U32(field) to.field = it.field;
#define SIDEKICK_U64(field) to.field = it.field;
#define SIDEKICK_BYTES(field) give(to.field, it.field);
#define SIDEKICK_LIST(field) give(to.field, it.field);
#define SIDEKICK_IDS(field) give(to.field, it.field);
#define SIDEKICK_CODE(field) to.field = static_cast<u32>(it.field);
#define SIDEKICK_ACTION(Type, name, number, fields) \
  case ActionTag::name: {                           \
    const auto& it = action.name;                   \
    auto& to = to_wit.val.name;                     \
    to_wit.tag = action_##name;                     \
    fields break;                                   \
  }
#include "sidekick/border.def"
  }
}

}  // namespace

// The generated code requires an object file with the world's type; scripts/make-component adds it
// from the WIT text instead.
extern "C" void __component_type_object_force_link_sidekick() {}

bool WIT(static_hub_open)(sidekick_string_t* config_text, WIT(own_hub_t) * hub,
                          sidekick_string_t* error) {
  Config config;
  const std::string wrong = decode_config(view(*config_text), config);
  sidekick_string_free(config_text);
  if (!wrong.empty()) {
    give(*error, wrong);
    return false;
  }
  *hub = WIT(hub_new)(new WIT(hub_t)(std::move(config)));
  return true;
}

void WIT(hub_destructor)(WIT(hub_t) * hub) { delete hub; }

void WIT(method_hub_handle)(WIT(borrow_hub_t) self, uint64_t now, WIT(input_t) * from,
                            WIT(list_action_t) * to) {
  std::vector<Bytes> list;
  const Input input = decode_input(*from, list);
  self->hub.handle(now, input, self->actions);
  self->recorded.clear();
  if (self->recording_format != 0) {
    self->recording.append(self->recorded, self->hub, now, input, self->actions);
    if (self->recording.take_due_hash(self->hub))
      self->recording.append_hash(self->recorded, self->hub);
  }
  *to = {nullptr, self->actions.size()};
  if (to->len > 0) to->ptr = static_cast<WIT(action_t)*>(std::malloc(to->len * sizeof *to->ptr));
  for (u32 i = 0; i < to->len; ++i) encode_action(to->ptr[i], self->actions[i]);
  WIT(input_free)(
      from);  // last: the callee owns its arguments, and the actions may point into them
}

void WIT(method_hub_admit)(WIT(borrow_hub_t) self, WIT(http_request_t) * from,
                           WIT(verdict_t) * to) {
  WIT(input_t) input_from;
  input_from.tag = input_http_request;
  input_from.val.http_request = *from;
  std::vector<Bytes> list;
  const Verdict verdict = self->hub.admit(decode_input(input_from, list).http_request);
  to->tag = static_cast<u8>(verdict.kind);  // the cases have the numbers of border.def
  switch (verdict.kind) {
    case VerdictKind::body:
      to->val.body = verdict.body_bytes_max;
      break;
    case VerdictKind::socket:
      give(to->val.socket, verdict.protocol);
      break;
    case VerdictKind::answer:
    case VerdictKind::ask:
    case VerdictKind::metrics:
      break;
  }
  WIT(http_request_free)(from);  // last: the protocol points into it
}

void WIT(method_hub_metrics)(WIT(borrow_hub_t) self, sidekick_string_t* to) {
  std::string text;
  self->hub.append_metrics(text);
  give(*to, text);
}

void WIT(method_hub_limits)(WIT(borrow_hub_t) self, sidekick_list_u32_t* to) {
  u32 values[std::size(limits)];
  for (std::size_t i = 0; i < std::size(limits); ++i)
    values[i] = self->hub.config().*limits[i].value;
  give(*to, values);
}

void WIT(method_hub_describe)(WIT(borrow_hub_t) self, uint32_t format, sidekick_string_t* to) {
  std::string header;
  trace::append_header(header, self->hub.config(), format);
  give(*to, header);
}

void WIT(method_hub_set_recording)(WIT(borrow_hub_t) self, uint32_t format) {
  if (format != 0 && format != self->recording_format) self->recording = trace::Recording(format);
  self->recording_format = format;
}

void WIT(method_hub_hash)(WIT(borrow_hub_t) self, sidekick_string_t* to) {
  std::string line;
  self->recording.append_hash(line, self->hub);
  give(*to, line);
}

void WIT(method_hub_recorded)(WIT(borrow_hub_t) self, sidekick_string_t* to) {
  give(*to, self->recorded);
}
