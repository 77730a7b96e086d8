// An input that outlives what its bytes pointed to.
#pragma once

#include <string>

#include "sidekick/border.hpp"

namespace sidekick {

class HeldInput {
 public:
  HeldInput(const Input& input) : input_(input) {
    std::string* text = texts_;
    for (const Field* field = find_input_shape(static_cast<u32>(input.tag))->fields;
         field->kind != FieldKind::end; ++field) {
      if (field->kind != FieldKind::bytes) continue;
      Bytes& bytes = *reinterpret_cast<Bytes*>(fields_of(input_) + field->offset);
      *text = bytes;
      bytes = *text++;
    }
  }
  HeldInput(const HeldInput&) = delete;
  HeldInput& operator=(const HeldInput&) = delete;

  const Input& operator*() const { return input_; }

 private:
  static constexpr std::size_t byte_fields_max = 8;
  Input input_;
  std::string texts_[byte_fields_max];
};

}  // namespace sidekick
