// One Sidekick hub in wasmtime: inputs in, actions out. Copy it into your C++ host. It owns an
// instance but no socket, clock or file, and makes no decisions. It needs wasmtime's C API and,
// from Sidekick, sidekick_abi.h, the folder core/include, and border_codec.cpp to compile with your
// host.
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

#include "sidekick/border_codec.hpp"
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

/// What to do with a request: see the verdicts in border.def.
struct SidekickVerdict {
  sidekick::VerdictKind kind;
  std::uint32_t body_bytes_max;  ///< of a `body`
  std::string_view protocol;     ///< of a `socket`; valid until the next call
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
    config.copy(buffer(config.size()), config.size());
    hub_ = call("sidekick_create", static_cast<std::uint32_t>(config.size()));
    if (hub_ == 0) {
      throw std::runtime_error("Sidekick: " + std::string(text_at(call("sidekick_error"))));
    }
    handle_ = exported("sidekick_handle", WASMTIME_EXTERN_FUNC).func;
  }

  /// Applies one input. Perform the actions in order; their data is valid until the next call.
  const sidekick::Actions& handle(sidekick::Millis now_ms, const sidekick::Input& input) {
    const std::uint32_t size = write(now_ms, input);
    const std::uint32_t address = call(handle_, hub_, size);
    const char* wrong = sidekick::codec::decode_actions(memory(), address, actions_);
    if (wrong != nullptr) throw std::runtime_error(std::string("Sidekick module: ") + wrong);
    return actions_;
  }

  /// What to do with a request whose body was not read yet; `request` as it will be passed to
  /// handle(), without its body.
  SidekickVerdict admit(const sidekick::input::HttpRequest& request) {
    const std::uint32_t size = write(0, request);
    const std::uint32_t address = call("sidekick_admit", hub_, size);
    return {static_cast<sidekick::VerdictKind>(word_at(address)), word_at(address + 4),
            text_at(address + 8)};
  }

  /// `format`: 2, or 0 for off. While recording is on, recorded() returns the trace lines of the
  /// latest input.
  void record(std::uint32_t format) { call("sidekick_record", hub_, format); }
  std::string_view recorded() { return text_at(call("sidekick_recorded", hub_)); }

  /// A trace line with the state hash: hubs with equal hashes have equal state, on any host.
  std::string_view metrics() { return text_at(call("sidekick_metrics", hub_)); }
  std::string_view hash() { return text_at(call("sidekick_hash", hub_)); }

 private:
  // Any call may grow and move the memory: do not keep a view of it across calls.
  std::span<char> memory() {
    return {reinterpret_cast<char*>(wasmtime_memory_data(context(), &memory_)),
            wasmtime_memory_data_size(context(), &memory_)};
  }
  char* memory_at(std::uint32_t address, std::uint64_t size) {
    if (address + size > memory().size()) {
      throw std::runtime_error("Sidekick module: address outside its memory");
    }
    return memory().data() + address;
  }
  std::uint32_t word_at(std::uint32_t address) {
    std::uint32_t value;
    std::memcpy(&value, memory_at(address, sizeof value), sizeof value);
    return value;
  }
  std::string_view text_at(std::uint32_t address) {
    const std::uint32_t size = word_at(address + 4);
    return {memory_at(word_at(address), size), size};
  }

  char* buffer(std::uint64_t size) {
    return memory_at(call("sidekick_buffer", static_cast<std::uint32_t>(size)), size);
  }
  std::uint32_t write(sidekick::Millis now_ms, const sidekick::Input& input) {
    const std::uint64_t size = sidekick::codec::input_bytes(input);
    sidekick::codec::encode_input(now_ms, input, buffer(size));
    return static_cast<std::uint32_t>(size);
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
  sidekick::Actions actions_;
};
