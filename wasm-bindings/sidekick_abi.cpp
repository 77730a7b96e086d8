// The border: translates between flat words and the core's types. Makes no decisions.
#include "sidekick_abi.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "sidekick/trace.hpp"

using namespace sidekick;

struct TimedInput {
  Millis now;
  Input input;
};

struct sidekick_hub {
  explicit sidekick_hub(Config config) : hub(std::move(config)) {}

  Hub hub;
  Actions actions;
  std::vector<uint32_t> words;  // the actions, as flat words
  bool is_recording = false;
  std::string recorded;
  trace::Recording recording;
  std::string header;
  sidekick_text text{};
};

namespace {

// Owned by the instance: one instance, one thread.
std::unique_ptr<u64[]> buffer;  // u64 for its alignment
u32 buffer_words = 0;
std::string error;
sidekick_text error_text;

// The hub whose trace lines of the latest input (still in the buffer) are not written yet:
// recording must not delay its actions.
sidekick_hub* unwritten = nullptr;
TimedInput latest{0, sidekick::input::TimerFired{}};

void write_lines() {
  if (unwritten == nullptr) return;
  sidekick_hub& it = *std::exchange(unwritten, nullptr);
  it.recording.append(it.recorded, it.hub, latest.now, latest.input, it.actions);
  if (it.recording.take_due_hash(it.hub)) it.recording.append_hash(it.recorded, it.hub);
}

const u8* buffer_bytes(u32 size) {
  SIDEKICK_CHECK(size <= u64{buffer_words} * sizeof(u64));
  return reinterpret_cast<const u8*>(buffer.get());
}

const sidekick_text* view(sidekick_text& text, const std::string& from) {
  text = sidekick_text{from.data(), static_cast<u32>(from.size())};
  return &text;
}

/// Takes words, then bytes, from an input block.
class BlockReader {
 public:
  explicit BlockReader(u32 size) : words_(buffer_bytes(size)), size_(size) {}

  u32 word() {
    SIDEKICK_CHECK(at_ + 4 <= size_);
    u32 value;
    std::memcpy(&value, words_ + at_, 4);
    at_ += 4;
    return value;
  }

  Bytes bytes(u32 length) {
    SIDEKICK_CHECK(length <= size_ - at_);
    const Bytes value(reinterpret_cast<const char*>(words_ + at_), length);
    at_ += length;
    return value;
  }

  void finish() const { SIDEKICK_CHECK(at_ == size_); }

 private:
  const u8* words_;
  u32 size_;
  u32 at_ = 0;
};

/// Words first, then the bytes they announced: two passes over the fields.
TimedInput decode_input(u32 size) {
  BlockReader reader(size);
  const u32 tag = reader.word();
  const u32 now_low = reader.word();
  const Millis now = static_cast<u64>(reader.word()) << 32 | now_low;
  const Shape* shape = find_input_shape(tag);
  SIDEKICK_CHECK(shape != nullptr);

  Input input = sidekick::input::HttpRequest{};  // the largest member: initializes all of the union
  input.tag = static_cast<InputTag>(tag);
  char* fields = fields_of(input);
  u32 lengths[8];
  u32 count = 0;
  for (const Field* field = shape->fields; field->kind != FieldKind::end; ++field) {
    const u32 word = reader.word();
    switch (field->kind) {
      case FieldKind::u32_word:
        new (fields + field->offset) u32(word);
        break;
      case FieldKind::u64_word:
        new (fields + field->offset) u64(static_cast<u64>(reader.word()) << 32 | word);
        break;
      case FieldKind::bytes:
        lengths[count++] = word;
        break;
      case FieldKind::ids:
      case FieldKind::end:
        trap();  // no input has ids
    }
  }
  count = 0;
  for (const Field* field = shape->fields; field->kind != FieldKind::end; ++field) {
    if (field->kind == FieldKind::bytes)
      new (fields + field->offset) Bytes(reader.bytes(lengths[count++]));
  }
  reader.finish();
  return {now, input};
}

// Addresses as 32-bit words of the border. Native builds (tests) have longer addresses and must not
// use this.
u32 address(const void* pointer) {
  const auto value = reinterpret_cast<std::uintptr_t>(pointer);
  if constexpr (sizeof(void*) > 4) SIDEKICK_CHECK(value <= 0xFFFFFFFF);
  return static_cast<u32>(value);
}

void encode_action(std::vector<u32>& words, const Action& action) {
  const Shape& shape = *find_action_shape(static_cast<u32>(action.tag));
  const char* fields = fields_of(action);
  u32 flat[16];
  u32 count = 0;
  flat[count++] = shape.tag;
  for (const Field* field = shape.fields; field->kind != FieldKind::end; ++field) {
    switch (field->kind) {
      case FieldKind::u32_word:
        flat[count++] = field_at<u32>(fields, *field);
        break;
      case FieldKind::u64_word:
        flat[count++] = static_cast<u32>(field_at<u64>(fields, *field));
        flat[count++] = static_cast<u32>(field_at<u64>(fields, *field) >> 32);
        break;
      case FieldKind::bytes:
        flat[count++] = address(field_at<Bytes>(fields, *field).data());
        flat[count++] = static_cast<u32>(field_at<Bytes>(fields, *field).size());
        break;
      case FieldKind::ids:
        flat[count++] = address(field_at<std::span<const u32>>(fields, *field).data());
        flat[count++] = static_cast<u32>(field_at<std::span<const u32>>(fields, *field).size());
        break;
      case FieldKind::end:
        trap();
    }
  }
  for (u32 i = 0; i < count; ++i) words.push_back(flat[i]);
}

}  // namespace

uint32_t sidekick_abi_version() { return SIDEKICK_ABI_VERSION; }

uint8_t* sidekick_buffer(uint32_t size) {
  write_lines();
  // A hub that received one large body does not keep its buffer forever.
  constexpr u32 kept_words_max = (1u << 20) / sizeof(u64);
  const u32 words = size / 8 + 1;
  if (words > buffer_words || (buffer_words > kept_words_max && words <= kept_words_max)) {
    buffer.reset();  // first: its content is not needed
    buffer_words = words < 512 ? 512 : words;
    buffer.reset(new u64[buffer_words]);
  }
  return reinterpret_cast<uint8_t*>(buffer.get());
}

sidekick_hub* sidekick_create(uint32_t size) {
  Config config;
  const u8* text = buffer_bytes(size);
  error = decode_config(Bytes(reinterpret_cast<const char*>(text), size), config);
  return error.empty() ? new sidekick_hub(std::move(config)) : nullptr;
}

const sidekick_text* sidekick_error() { return view(error_text, error); }

void sidekick_destroy(sidekick_hub* hub) {
  if (unwritten == hub) unwritten = nullptr;
  delete hub;
}

const sidekick_text* sidekick_describe(sidekick_hub* hub) {
  hub->header.clear();
  trace::append_header(hub->header, hub->hub.config());
  return view(hub->text, hub->header);
}

const uint32_t* sidekick_handle(sidekick_hub* hub, uint32_t size) {
  unwritten = nullptr;  // for a host that overwrote the last input without sidekick_buffer
  hub->recorded.clear();
  latest = decode_input(size);
  hub->hub.handle(latest.now, latest.input, hub->actions);

  hub->words.clear();
  hub->words.push_back(hub->actions.size());
  for (const Action& action : hub->actions) encode_action(hub->words, action);

  if (hub->is_recording) unwritten = hub;
  return hub->words.data();
}

uint32_t sidekick_body_bytes_max(sidekick_hub* hub, uint32_t method_size, uint32_t path_size,
                                 uint32_t authorization_size) {
  const u64 size = static_cast<u64>(method_size) + path_size + authorization_size;
  SIDEKICK_CHECK(size <= u64{buffer_words} * sizeof(u64));
  const char* at = reinterpret_cast<const char*>(buffer.get());
  return hub->hub.body_bytes_max(Bytes(at, method_size), Bytes(at + method_size, path_size),
                                 Bytes(at + method_size + path_size, authorization_size));
}

void sidekick_record(sidekick_hub* hub, uint32_t on) { hub->is_recording = on != 0; }

const sidekick_text* sidekick_recorded(sidekick_hub* hub) {
  write_lines();
  return view(hub->text, hub->recorded);
}

const sidekick_text* sidekick_hash(sidekick_hub* hub) {
  write_lines();
  hub->header.clear();
  hub->recording.append_hash(hub->header, hub->hub);
  return view(hub->text, hub->header);
}

const sidekick_text* sidekick_record_input(sidekick_hub* hub, uint32_t size) {
  const TimedInput it = decode_input(size);
  hub->recorded.clear();
  trace::append_input(hub->recorded, hub->hub, it.now, it.input);
  return view(hub->text, hub->recorded);
}
