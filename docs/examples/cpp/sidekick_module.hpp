// One Sidekick hub in wasmtime: inputs in, actions out. Copy it into your C++ host. It owns an
// instance but no socket, clock or file, and makes no decisions. It needs wasmtime's C API and,
// from Sidekick, border.hpp (types only: nothing to link) and sidekick_abi.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <wasmtime.h>

#include "sidekick/border.hpp"
#include "sidekick_abi.h"

/// Frees what wasmtime's C API returns.
struct WasmtimeDelete {
  void operator()(wasm_engine_t* it) const { wasm_engine_delete(it); }
  void operator()(wasmtime_module_t* it) const { wasmtime_module_delete(it); }
  void operator()(wasmtime_store_t* it) const { wasmtime_store_delete(it); }
};
template <class T>
using WasmtimeOwned = std::unique_ptr<T, WasmtimeDelete>;

/// The module stopped at a failed check. The hub is dead: create another, restore it from the
/// records, and do not replay the input.
struct SidekickTrap : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class SidekickModule {
 public:
  static WasmtimeOwned<wasm_engine_t> make_engine() {
    wasm_config_t* config = wasm_config_new();
    // The same bytes on every machine: one pattern for NaN.
    wasmtime_config_cranelift_nan_canonicalization_set(config, true);
    return WasmtimeOwned<wasm_engine_t>(wasm_engine_new_with_config(config));
  }

  /// Compile once; all hubs can use the result.
  static WasmtimeOwned<wasmtime_module_t> compile(wasm_engine_t& engine, std::string_view wasm) {
    wasmtime_module_t* module = nullptr;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(wasm.data());
    check(wasmtime_module_new(&engine, bytes, wasm.size(), &module), nullptr);
    return WasmtimeOwned<wasmtime_module_t>(module);
  }

  /// config: JSON with `secrets` (required), `hash_seed` (16 hex digits, random) and limits by
  /// name. memory_bytes_max: a hub that needs more traps.
  SidekickModule(wasm_engine_t& engine, const wasmtime_module_t& module, std::string_view config,
                 std::int64_t memory_bytes_max = 1 << 30)
      : store_(wasmtime_store_new(&engine, nullptr, nullptr)) {
    wasmtime_store_limiter(store_.get(), memory_bytes_max, -1, -1, -1, -1);
    wasm_trap_t* trap = nullptr;
    // No imports: no I/O.
    check(wasmtime_instance_new(context(), &module, nullptr, 0, &instance_, &trap), trap);
    memory_ = exported("memory", WASMTIME_EXTERN_MEMORY).memory;
    call("_initialize");  // wasmtime does not call it itself
    const std::uint32_t version = call("sidekick_abi_version");
    if (version != SIDEKICK_ABI_VERSION) {
      throw std::runtime_error("Sidekick module: expected ABI version " +
                               std::to_string(SIDEKICK_ABI_VERSION) + ", found " +
                               std::to_string(version));
    }
    fill_buffer(config);
    hub_ = call("sidekick_create", static_cast<std::uint32_t>(config.size()));
    if (hub_ == 0) {
      throw std::runtime_error("Sidekick: " + std::string(text_at(call("sidekick_error"))));
    }
    handle_ = exported("sidekick_handle", WASMTIME_EXTERN_FUNC).func;
  }

  /// Applies one input. Perform the actions in order; their data is valid until the next call.
  const std::vector<sidekick::Action>& handle(sidekick::Millis now_ms,
                                              const sidekick::Input& input) {
    encode(now_ms, input);
    fill_buffer(block_);
    decode(call(handle_, hub_, static_cast<std::uint32_t>(block_.size())));
    return actions_;
  }

  /// While recording is on, recorded() returns the trace lines of the latest input.
  void record(bool on) { call("sidekick_record", hub_, on ? 1u : 0u); }
  std::string_view recorded() { return text_at(call("sidekick_recorded", hub_)); }

  /// A trace line with the state hash: hubs with equal hashes have equal state, on any host.
  std::string_view hash() { return text_at(call("sidekick_hash", hub_)); }

 private:
  // Words, then the bytes they announce, with the fields in the order of border.def.
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
                               ": module and host have different versions");
    }
  }

  void word(std::uint32_t value) {
    block_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void double_word(std::uint64_t value) {
    block_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  // Any call may grow and move the memory: do not keep a view of it across calls.
  char* memory_at(std::uint32_t address, std::uint64_t size) {
    if (address + size > wasmtime_memory_data_size(context(), &memory_)) {
      throw std::runtime_error("Sidekick module: address outside its memory");
    }
    return reinterpret_cast<char*>(wasmtime_memory_data(context(), &memory_)) + address;
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
    std::memcpy(memory_at(address, bytes.size()), bytes.data(), bytes.size());
  }

  template <class... Words>
  std::uint32_t call(const char* name, Words... words) {
    return call(exported(name, WASMTIME_EXTERN_FUNC).func, words...);
  }
  /// Every parameter and result of the module is an i32. wasmtime does not check that here: the ABI
  /// version does.
  template <class... Words>
  std::uint32_t call(const wasmtime_func_t& function, Words... words) {
    wasmtime_val_raw_t values[sizeof...(words) + 1] = {{static_cast<std::int32_t>(words)}...};
    wasm_trap_t* trap = nullptr;
    check(wasmtime_func_call_unchecked(context(), &function, values, std::size(values), &trap),
          trap);
    return static_cast<std::uint32_t>(values[0].i32);
  }

  wasmtime_extern_union_t exported(const char* name, wasmtime_extern_kind_t kind) {
    wasmtime_extern_t found;
    if (!wasmtime_instance_export_get(context(), &instance_, name, std::strlen(name), &found) ||
        found.kind != kind) {
      throw std::runtime_error(std::string("no export ") + name +
                               ": this file is not a Sidekick module");
    }
    return found.of;
  }

  wasmtime_context_t* context() { return wasmtime_store_context(store_.get()); }

  static void check(wasmtime_error_t* error, wasm_trap_t* trap) {
    if (error == nullptr && trap == nullptr) return;
    wasm_byte_vec_t text;
    if (error != nullptr) {
      wasmtime_error_message(error, &text);
      wasmtime_error_delete(error);
    } else {
      wasm_trap_message(trap, &text);
      wasm_trap_delete(trap);
    }
    const std::string message(text.data, text.size);
    wasm_byte_vec_delete(&text);
    if (error != nullptr) throw std::runtime_error(message);
    throw SidekickTrap(message.substr(0, message.find('\0')));
  }

  WasmtimeOwned<wasmtime_store_t> store_;
  wasmtime_instance_t instance_;
  wasmtime_memory_t memory_;
  wasmtime_func_t handle_;
  std::uint32_t hub_ = 0;
  std::uint32_t at_ = 0;  // read position of next_word()
  std::string block_;     // the input under construction
  std::string tail_;      // its bytes, which follow its words
  std::vector<sidekick::Action> actions_;
};
