// The border: translates between flat words and the core's types. Makes no decisions.
#include "sidekick_abi.h"

#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "input_buffer.hpp"
#include "sidekick/border_codec.hpp"
#include "sidekick/trace.hpp"

using namespace sidekick;

struct sidekick_hub {
  explicit sidekick_hub(Config config) : hub(std::move(config)) {
    for (const LimitEntry& limit : sidekick::limits) limits.push_back(hub.config().*limit.value);
  }

  Hub hub;
  Actions actions;
  std::vector<uint32_t> words;  // the actions, as flat words
  std::vector<uint32_t> limits;
  u32 recording_format = 0;  // 0: off
  std::string recorded;
  trace::Recording recording;
  std::string header;
  sidekick_text text{};
};

namespace {

// Owned by the instance: one instance, one thread.
InputBuffer buffer;
std::string error;
sidekick_text error_text;

// The hub whose trace lines of the latest input (still in the buffer) are not written yet:
// recording must not delay its actions.
sidekick_hub* unwritten = nullptr;
codec::TimedInput latest{.now = 0, .input = sidekick::input::TimerFired{}, .list = {}};
sidekick_verdict verdict;

void write_lines() {
  if (unwritten == nullptr) return;
  sidekick_hub& it = *std::exchange(unwritten, nullptr);
  it.recording.append(it.recorded, it.hub, latest.now, latest.input, it.actions);
  if (it.recording.take_due_hash(it.hub)) it.recording.append_hash(it.recorded, it.hub);
}

const sidekick_text* view(sidekick_text& text, const std::string& from) {
  text = sidekick_text{from.data(), static_cast<u32>(from.size())};
  return &text;
}

codec::TimedInput read_input(u32 size) { return codec::decode_input(buffer.bytes(size)); }

}  // namespace

uint32_t sidekick_abi_version() { return SIDEKICK_ABI_VERSION; }

uint8_t* sidekick_buffer(uint32_t size) {
  write_lines();
  return buffer.reserve(size);
}

sidekick_hub* sidekick_create(uint32_t size) {
  Config config;
  error = decode_config(buffer.bytes(size), config);
  return error.empty() ? new sidekick_hub(std::move(config)) : nullptr;
}

const sidekick_text* sidekick_error() { return view(error_text, error); }

void sidekick_destroy(sidekick_hub* hub) {
  if (unwritten == hub) unwritten = nullptr;
  delete hub;
}

const uint32_t* sidekick_limits(sidekick_hub* hub) { return hub->limits.data(); }

const sidekick_text* sidekick_describe(sidekick_hub* hub, uint32_t format) {
  hub->header.clear();
  trace::append_header(hub->header, hub->hub.config(), format);
  return view(hub->text, hub->header);
}

const uint32_t* sidekick_handle(sidekick_hub* hub, uint32_t size) {
  unwritten = nullptr;  // for a host that overwrote the last input without sidekick_buffer
  hub->recorded.clear();
  latest = read_input(size);
  hub->hub.handle(latest.now, latest.input, hub->actions);
  codec::encode_actions(hub->actions, hub->words);
  if (hub->recording_format != 0) unwritten = hub;
  return hub->words.data();
}

const sidekick_verdict* sidekick_admit(sidekick_hub* hub, uint32_t size) {
  const codec::TimedInput it = read_input(size);
  SIDEKICK_CHECK(it.input.tag == InputTag::http_request);
  const Verdict is = hub->hub.admit(it.input.http_request);
  verdict = {static_cast<u32>(is.kind),
             is.body_bytes_max,
             {is.protocol.data(), static_cast<u32>(is.protocol.size())}};
  return &verdict;
}

const sidekick_text* sidekick_metrics(sidekick_hub* hub) {
  hub->header.clear();
  hub->hub.append_metrics(hub->header);
  return view(hub->text, hub->header);
}

void sidekick_record(sidekick_hub* hub, uint32_t format) {
  if (format == hub->recording_format) return;
  hub->recording_format = format;
  if (format != 0) hub->recording = trace::Recording(format);
}

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
  const codec::TimedInput it = read_input(size);
  hub->recorded.clear();
  trace::append_input(hub->recorded, hub->hub, it.now, it.input);
  return view(hub->text, hub->recorded);
}
