#include "sidekick/border_codec.hpp"

#include <bit>
#include <cstring>

namespace sidekick::codec {

static_assert(std::endian::native == std::endian::little,
              "words are read and written without conversion");

namespace {

// visit_fields(it, visitor) calls visitor.u32(it.client), visitor.bytes(it.record) and so on, in
// the order of border.def.
#define SIDEKICK_U32(name) visitor.word(it.name);
#define SIDEKICK_U64(name) visitor.words(it.name);
#define SIDEKICK_BYTES(name) visitor.bytes(it.name);
#define SIDEKICK_LIST(name) visitor.list(it.name);
#define SIDEKICK_INPUT(Type, name, number, fields)                                \
  template <class It, class Visitor>                                              \
    requires std::is_same_v<std::remove_const_t<It>, input::Type>                 \
  void visit_fields([[maybe_unused]] It& it, [[maybe_unused]] Visitor& visitor) { \
    fields                                                                        \
  }
#include "sidekick/border.def"

#define SIDEKICK_U32(name) visitor.word(it.name);
#define SIDEKICK_U64(name) visitor.words(it.name);
#define SIDEKICK_BYTES(name) visitor.bytes(it.name);
#define SIDEKICK_LIST(name) visitor.list(it.name);
#define SIDEKICK_IDS(name) visitor.ids(it.name);
#define SIDEKICK_CODE(name) visitor.code(it.name);
#define SIDEKICK_ACTION(Type, name, number, fields)                               \
  template <class It, class Visitor>                                              \
    requires std::is_same_v<std::remove_const_t<It>, action::Type>                \
  void visit_fields([[maybe_unused]] It& it, [[maybe_unused]] Visitor& visitor) { \
    fields                                                                        \
  }
#include "sidekick/border.def"

template <class Visitor>
void visit(const Input& input, Visitor& visitor) {
  switch (input.tag) {
#define SIDEKICK_INPUT(Type, name, number, fields) \
  case InputTag::name:                             \
    return visit_fields(input.name, visitor);
#include "sidekick/border.def"
  }
}

template <class Visitor>
void visit(const Action& action, Visitor& visitor) {
  switch (action.tag) {
#define SIDEKICK_ACTION(Type, name, number, fields) \
  case ActionTag::name:                             \
    return visit_fields(action.name, visitor);
#include "sidekick/border.def"
  }
}

constexpr u64 head_bytes = 12;  // tag, time

// ---- inputs: all words, then the bytes whose lengths they announced ----

struct InputSize {
  u64 size = head_bytes;
  void word(u32) { size += 4; }
  void words(u64) { size += 8; }
  void bytes(Bytes value) { size += 4 + value.size(); }
  void list(std::span<const Bytes> values) {
    size += 4;
    for (const Bytes value : values) bytes(value);
  }
};

struct WordWriter {
  char* to;
  void word(u32 value) { put(&value, 4); }
  void words(u64 value) { put(&value, 8); }
  void bytes(Bytes value) { word(static_cast<u32>(value.size())); }
  void list(std::span<const Bytes> values) {
    word(static_cast<u32>(values.size()));
    for (const Bytes value : values) bytes(value);
  }

 private:
  void put(const void* from, std::size_t size) {
    std::memcpy(to, from, size);
    to += size;
  }
};

struct ByteWriter {
  char* to;
  void word(u32) {}
  void words(u64) {}
  void bytes(Bytes value) {
    if (!value.empty()) std::memcpy(to, value.data(), value.size());
    to += value.size();
  }
  void list(std::span<const Bytes> values) {
    for (const Bytes value : values) bytes(value);
  }
};

struct WordReader {
  static constexpr u32 byte_fields_max = 8;

  Bytes rest;
  u32 sizes[byte_fields_max]{};  ///< of the bytes, for ByteReader
  u32 count = 0;
  Bytes list_sizes;  ///< the words of the sizes in the list

  void word(u32& value) { take(&value, 4); }
  void words(u64& value) { take(&value, 8); }
  void bytes(Bytes&) {
    SIDEKICK_CHECK(count < byte_fields_max);
    word(sizes[count++]);
  }
  void list(std::span<const Bytes>&) {
    u32 length = 0;
    word(length);
    SIDEKICK_CHECK(length <= rest.size() / 4);
    list_sizes = rest.substr(0, std::size_t{length} * 4);
    rest.remove_prefix(list_sizes.size());
  }

 private:
  void take(void* to, std::size_t size) {
    SIDEKICK_CHECK(size <= rest.size());
    std::memcpy(to, rest.data(), size);
    rest.remove_prefix(size);
  }
};

struct ByteReader {
  Bytes rest;
  const u32* size;  ///< of the next bytes
  Bytes list_sizes;
  std::vector<Bytes>& elements;

  void word(u32) {}
  void words(u64) {}
  void bytes(Bytes& value) { value = take(*size++); }
  void list(std::span<const Bytes>& values) {
    for (; !list_sizes.empty(); list_sizes.remove_prefix(4)) {
      u32 element_size = 0;
      std::memcpy(&element_size, list_sizes.data(), 4);
      elements.push_back(take(element_size));
    }
    values = elements;
  }

 private:
  Bytes take(u32 bytes) {
    SIDEKICK_CHECK(bytes <= rest.size());
    const Bytes taken = rest.substr(0, bytes);
    rest.remove_prefix(bytes);
    return taken;
  }
};

template <class Type>
TimedInput read_input(Millis now, Bytes rest) {
  Type it;
  std::vector<Bytes> list;
  WordReader words{rest, {}, 0, {}};
  visit_fields(it, words);
  ByteReader bytes{words.rest, words.sizes, words.list_sizes, list};
  visit_fields(it, bytes);
  SIDEKICK_CHECK(bytes.rest.empty());
  return {now, it, std::move(list)};
}

// ---- actions: words only, with addresses ----

class ActionWriter {
 public:
  explicit ActionWriter(std::vector<u32>& words) : words_(words) {}

  void word(u32 value) { words_.push_back(value); }
  void words(u64 value) {
    word(static_cast<u32>(value));
    word(static_cast<u32>(value >> 32));
  }
  void bytes(Bytes value) { place(value.data(), value.size()); }
  void list(std::span<const Bytes> values) {
    word(static_cast<u32>(values.size()));
    for (const Bytes value : values) bytes(value);
  }
  void ids(std::span<const u32> value) { place(value.data(), value.size()); }
  void code(ErrorCode value) { word(static_cast<u32>(value)); }

 private:
  void place(const void* data, std::size_t size) {
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    if constexpr (sizeof(void*) > 4) SIDEKICK_CHECK(address <= 0xFFFFFFFF);
    word(static_cast<u32>(address));
    word(static_cast<u32>(size));
  }

  std::vector<u32>& words_;
};

class ActionReader {
 public:
  ActionReader(std::span<const char> memory, u32 address, Actions& actions)
      : memory_(memory), at_(address), actions_(actions) {}

  void word(u32& value) {
    value = 0;
    if (const char* from = part(at_, 4)) std::memcpy(&value, from, 4);
    at_ += 4;
  }
  void words(u64& value) {
    u32 low = 0, high = 0;
    word(low);
    word(high);
    value = static_cast<u64>(high) << 32 | low;
  }
  void bytes(Bytes& value) {
    u32 address = 0, size = 0;
    word(address);
    word(size);
    const char* from = part(address, size);
    value = from == nullptr ? Bytes() : Bytes(from, size);
  }
  void list(std::span<const Bytes>& values) {
    u32 count = 0;
    word(count);
    elements_.clear();
    while (count-- > 0 && wrong == nullptr) bytes(elements_.emplace_back());
    values = actions_.list(elements_);
  }
  void ids(std::span<const u32>& value) {
    u32 address = 0, count = 0;
    word(address);
    word(count);
    const char* from = part(address, u64{count} * 4);
    if (address % 4 != 0) wrong = "the module's client ids are not aligned";
    if (from != nullptr && wrong == nullptr) value = {reinterpret_cast<const u32*>(from), count};
  }
  void code(ErrorCode& value) {
    u32 number = 0;
    word(number);
    value = static_cast<ErrorCode>(number);
  }

  const char* wrong = nullptr;

 private:
  /// Null if it is empty or outside.
  const char* part(u64 address, u64 size) {
    if (size == 0) return nullptr;
    if (address + size <= memory_.size()) return memory_.data() + address;
    wrong = "the module's actions point outside its memory";
    return nullptr;
  }

  std::span<const char> memory_;
  u64 at_;
  Actions& actions_;
  std::vector<Bytes> elements_;  // scratch
};

template <class Type>
void read_action(ActionReader& reader, Actions& actions) {
  Type it;
  visit_fields(it, reader);
  actions.add(it);
}

}  // namespace

u64 input_bytes(const Input& input) {
  InputSize size;
  visit(input, size);
  return size.size;
}

void encode_input(Millis now, const Input& input, char* to) {
  WordWriter words{to};
  words.word(static_cast<u32>(input.tag));
  words.words(now);
  visit(input, words);
  ByteWriter bytes{words.to};
  visit(input, bytes);
}

TimedInput decode_input(Bytes block) {
  WordReader head{block, {}, 0, {}};
  u32 tag = 0;
  Millis now = 0;
  head.word(tag);
  head.words(now);
  switch (static_cast<InputTag>(tag)) {
#define SIDEKICK_INPUT(Type, name, number, fields) \
  case InputTag::name:                             \
    return read_input<input::Type>(now, head.rest);
#include "sidekick/border.def"
  }
  trap();
}

void encode_actions(const Actions& actions, std::vector<u32>& words) {
  words.clear();
  ActionWriter writer(words);
  writer.word(actions.size());
  for (const Action& action : actions) {
    writer.word(static_cast<u32>(action.tag));
    visit(action, writer);
  }
}

const char* decode_actions(std::span<const char> memory, u32 address, Actions& actions) {
  actions.clear();
  ActionReader reader(memory, address, actions);
  u32 left = 0;
  for (reader.word(left); left > 0 && reader.wrong == nullptr; --left) {
    u32 tag = 0;
    reader.word(tag);
    bool is_known = false;
    switch (static_cast<ActionTag>(tag)) {
#define SIDEKICK_ACTION(Type, name, number, fields) \
  case ActionTag::name:                             \
    read_action<action::Type>(reader, actions);     \
    is_known = true;                                \
    break;
#include "sidekick/border.def"
    }
    if (!is_known && reader.wrong == nullptr) reader.wrong = "the module emitted an unknown action";
  }
  return reader.wrong;
}

}  // namespace sidekick::codec
