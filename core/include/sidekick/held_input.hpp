// An input that outlives what its bytes pointed to.
#pragma once

#include <string>
#include <vector>

#include "sidekick/border.hpp"

namespace sidekick {

class HeldInput {
 public:
  HeldInput(const Input& input) : input_(input) {
    std::string* text = texts_;
    for (const Field* field = find_input_shape(static_cast<u32>(input.tag))->fields;
         field->kind != FieldKind::end; ++field) {
      if (field->kind == FieldKind::list) {
        auto& list = *reinterpret_cast<std::span<const Bytes>*>(fields_of(input_) + field->offset);
        list_texts_.assign(list.begin(), list.end());
        list_.assign(list_texts_.begin(), list_texts_.end());
        list = list_;
      }
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
  std::vector<std::string> list_texts_;
  std::vector<Bytes> list_;
};

}  // namespace sidekick
