#include "runtime/flat_border.hpp"

#include <bit>
#include <cstring>

#include "runtime/runtime.hpp"

namespace sidekick::host {

static_assert(std::endian::native == std::endian::little,
              "the module's words are read without conversion");

namespace {

constexpr u64 head_words = 3;  // tag, time

const Shape& shape_of(const Input& input) { return *find_input_shape(static_cast<u32>(input.tag)); }

class BlockWriter {
 public:
  explicit BlockWriter(char* out) : out_(out) {}
  void word(u32 value) { put(&value, 4); }
  void words(u64 value) { put(&value, 8); }
  void bytes(Bytes value) { put(value.data(), value.size()); }

 private:
  void put(const void* data, std::size_t size) {
    if (size > 0) std::memcpy(out_, data, size);
    out_ += size;
  }
  char* out_;
};

class BlockReader {
 public:
  BlockReader(std::span<const char> memory, u32 address) : memory_(memory), at_(address) {}

  u32 word() {
    u32 value;
    std::memcpy(&value, part(at_, 4), 4);
    at_ += 4;
    return value;
  }
  u64 words() {
    const u64 low = word();
    return static_cast<u64>(word()) << 32 | low;
  }
  Bytes bytes() {
    const u32 address = word();
    const u32 size = word();
    return size == 0 ? Bytes() : Bytes(part(address, size), size);
  }
  std::span<const u32> ids() {
    const u32 address = word();
    const u32 count = word();
    if (count == 0) return {};
    if (address % 4 != 0) throw Trap("the module's client ids are not aligned");
    return {reinterpret_cast<const u32*>(part(address, u64{count} * 4)), count};
  }

 private:
  const char* part(u64 address, u64 size) const {
    if (address + size > memory_.size())
      throw Trap("the module's actions point outside its memory");
    return memory_.data() + address;
  }

  std::span<const char> memory_;
  u64 at_;
};

}  // namespace

u64 input_block_bytes(const Input& input) {
  u64 size = head_words * 4;
  for (const Field* field = shape_of(input).fields; field->kind != FieldKind::end; ++field) {
    size += field->kind == FieldKind::u64_word ? 8 : 4;
    if (field->kind == FieldKind::bytes) size += field_at<Bytes>(fields_of(input), *field).size();
  }
  return size;
}

void encode_input(Millis now, const Input& input, char* out) {
  const Shape& shape = shape_of(input);
  const char* fields = fields_of(input);
  BlockWriter writer(out);
  writer.word(shape.tag);
  writer.words(now);
  for (const Field* field = shape.fields; field->kind != FieldKind::end; ++field) {
    switch (field->kind) {
      case FieldKind::u32_word:
        writer.word(field_at<u32>(fields, *field));
        break;
      case FieldKind::u64_word:
        writer.words(field_at<u64>(fields, *field));
        break;
      case FieldKind::bytes:
        writer.word(static_cast<u32>(field_at<Bytes>(fields, *field).size()));
        break;
      case FieldKind::ids:
      case FieldKind::end:
        trap();  // no input has ids
    }
  }
  for (const Field* field = shape.fields; field->kind != FieldKind::end; ++field) {
    if (field->kind == FieldKind::bytes) writer.bytes(field_at<Bytes>(fields, *field));
  }
}

void decode_actions(std::span<const char> memory, u32 address, std::vector<Action>& actions) {
  actions.clear();
  BlockReader reader(memory, address);
  for (u32 left = reader.word(); left > 0; --left) {
    const Shape* shape = find_action_shape(reader.word());
    if (shape == nullptr) throw Trap("the module emitted an unknown action");
    Action action = action::Respond{};  // the largest member: initializes all of the union
    action.tag = static_cast<ActionTag>(shape->tag);
    char* fields = const_cast<char*>(fields_of(action));
    for (const Field* field = shape->fields; field->kind != FieldKind::end; ++field) {
      switch (field->kind) {
        case FieldKind::u32_word:
          new (fields + field->offset) u32(reader.word());
          break;
        case FieldKind::u64_word:
          new (fields + field->offset) u64(reader.words());
          break;
        case FieldKind::bytes:
          new (fields + field->offset) Bytes(reader.bytes());
          break;
        case FieldKind::ids:
          new (fields + field->offset) std::span<const u32>(reader.ids());
          break;
        case FieldKind::end:
          break;
      }
    }
    actions.push_back(action);
  }
}

}  // namespace sidekick::host
