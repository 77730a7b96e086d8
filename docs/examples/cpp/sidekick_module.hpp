// One Sidekick hub in wasmtime: inputs in, actions out. To be copied into a C++ host. It owns an
// instance and no socket, clock or file, and decides nothing. Needs wasmtime's C++ header and
// library, and of Sidekick border.hpp (types only: nothing to link) and sidekick_abi.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <wasmtime.hh>

#include "sidekick/border.hpp"
#include "sidekick_abi.h"

/// The module stopped at a failed check. The hub is dead: make another, restore it from the
/// records, do not replay the input.
struct SidekickTrap : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class SidekickModule {
 public:
  /// The same bytes on every machine: a NaN has one pattern only.
  static wasmtime::Engine make_engine() {
    wasmtime::Config config;
    config.cranelift_nan_canonicalization(true);
    return wasmtime::Engine(std::move(config));
  }

  /// config: JSON with `secrets` (required), `hash_seed` (16 hex digits, random) and limits by
  /// name. memory_bytes_max: a hub that needs more traps.
  SidekickModule(wasmtime::Engine& engine, const wasmtime::Module& module, std::string_view config,
                 std::int64_t memory_bytes_max = 1 << 30)
      : store_(engine) {
    store_.limiter(memory_bytes_max, -1, -1, -1, -1);
    instance_ = got(wasmtime::Instance::create(store_, module, {}));  // no imports: no I/O
    memory_ = std::get<wasmtime::Memory>(exported("memory"));
    call("_initialize");  // wasmtime does not call it by itself
    const std::uint32_t version = call("sidekick_abi_version");
    if (version != SIDEKICK_ABI_VERSION) {
      throw std::runtime_error("Sidekick module: expected ABI version " +
                               std::to_string(SIDEKICK_ABI_VERSION) + ", found " +
                               std::to_string(version));
    }
    fill_buffer(config);
    hub_ = call("sidekick_create", static_cast<std::uint32_t>(config.size()));
    if (hub_ == 0)
      throw std::runtime_error("Sidekick: " + std::string(text_at(call("sidekick_error"))));
    handle_ = std::get<wasmtime::Func>(exported("sidekick_handle"));
  }

  /// Applies one input. The actions are to be performed in order; what they point to is good until
  /// the next call.
  const std::vector<sidekick::Action>& handle(sidekick::Millis now_ms,
                                              const sidekick::Input& input) {
    encode(now_ms, input);
    fill_buffer(block_);
    decode(call(handle_, hub_, static_cast<std::uint32_t>(block_.size())));
    return actions_;
  }

  /// While on, recorded() gives the trace lines of the latest input.
  void record(bool on) { call("sidekick_record", hub_, on ? 1u : 0u); }
  std::string_view recorded() { return text_at(call("sidekick_recorded", hub_)); }

  /// A trace line of what the hub has come to: hubs with the same state hash know the same,
  /// wherever they run.
  std::string_view hash() { return text_at(call("sidekick_hash", hub_)); }

 private:
  // Words, then the bytes they announce: border.def has the order of the fields.
  void encode(sidekick::Millis now_ms, const sidekick::Input& input) {
    block_.clear();
    tail_.clear();
    word(static_cast<std::uint32_t>(input.tag));
    double_word(now_ms);
    switch (input.tag) {
#define SIDEKICK_U32(name) word(it.name);
#define SIDEKICK_U64(name) double_word(it.name);
#define SIDEKICK_BYTES(name)                        \
  word(static_cast<std::uint32_t>(it.name.size())); \
  tail_ += it.name;
#define SIDEKICK_INPUT(Type, name, tag, fields)   \
  case sidekick::InputTag::name: {                \
    [[maybe_unused]] const auto& it = input.name; \
    fields break;                                 \
  }
#include "sidekick/border.def"
    }
    block_ += tail_;
  }

  void decode(std::uint32_t address) {
    actions_.clear();
    at_ = address;
    for (std::uint32_t count = next_word(); count > 0; --count) {
      const std::uint32_t tag = next_word();
      switch (static_cast<sidekick::ActionTag>(tag)) {
#define SIDEKICK_U32(name) it.name = next_word();
#define SIDEKICK_U64(name) \
  it.name = next_word();   \
  it.name |= sidekick::u64{next_word()} << 32;
#define SIDEKICK_BYTES(name) it.name = next_bytes();
#define SIDEKICK_IDS(name) it.name = next_ids();
#define SIDEKICK_ACTION(Type, name, tag, fields) \
  case sidekick::ActionTag::name: {              \
    sidekick::action::Type it;                   \
    fields actions_.emplace_back(it);            \
    continue;                                    \
  }
#include "sidekick/border.def"
      }
      throw std::runtime_error("Sidekick module: unknown action tag " + std::to_string(tag) +
                               "; module and host are of different age");
    }
  }

  void word(std::uint32_t value) {
    block_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void double_word(std::uint64_t value) {
    block_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  // The memory may have grown, and moved, in any call: no view of it is kept across one.
  const char* memory_at(std::uint32_t address, std::uint64_t size) {
    const auto bytes = memory_->data(store_);
    if (address + size > bytes.size())
      throw std::runtime_error("Sidekick module: an address beyond its memory");
    return reinterpret_cast<const char*>(bytes.data()) + address;
  }
  std::uint32_t next_word() {
    std::uint32_t value;
    std::memcpy(&value, memory_at(at_, sizeof value), sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view next_bytes() {
    const std::uint32_t address = next_word();
    const std::uint32_t size = next_word();
    return {memory_at(address, size), size};
  }
  std::span<const std::uint32_t> next_ids() {
    const std::uint32_t address = next_word();
    const std::uint32_t count = next_word();
    return {reinterpret_cast<const std::uint32_t*>(memory_at(address, std::uint64_t{count} * 4)),
            count};
  }
  std::string_view text_at(std::uint32_t address) {
    at_ = address;
    return next_bytes();
  }

  void fill_buffer(std::string_view bytes) {
    const std::uint32_t address = call("sidekick_buffer", static_cast<std::uint32_t>(bytes.size()));
    std::memcpy(const_cast<char*>(memory_at(address, bytes.size())), bytes.data(), bytes.size());
  }

  template <class... Words>
  std::uint32_t call(std::string_view name, Words... words) {
    return call(std::get<wasmtime::Func>(exported(name)), words...);
  }
  template <class... Words>
  std::uint32_t call(const std::optional<wasmtime::Func>& function, Words... words) {
    const auto results =
        got(function->call(store_, {wasmtime::Val(static_cast<std::int32_t>(words))...}));
    return results.empty() ? 0 : static_cast<std::uint32_t>(results[0].i32());
  }

  wasmtime::Extern exported(std::string_view name) {
    auto found = instance_->get(store_, name);
    if (!found)
      throw std::runtime_error("no export " + std::string(name) +
                               ": this file is not a Sidekick module");
    return *found;
  }

  template <class T>
  static T got(wasmtime::TrapResult<T> result) {
    if (!result) throw SidekickTrap(result.err().message());
    return result.ok();
  }

  wasmtime::Store store_;
  std::optional<wasmtime::Instance> instance_;
  std::optional<wasmtime::Memory> memory_;
  std::optional<wasmtime::Func> handle_;
  std::uint32_t hub_ = 0;
  std::uint32_t at_ = 0;  // where next_word() reads
  std::string block_;     // the input under construction
  std::string tail_;      // its bytes, which follow its words
  std::vector<sidekick::Action> actions_;
};
