#include "runtime/module_runtime.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "errors.hpp"
#include "sidekick/border_codec.hpp"
#include "sidekick_abi.h"

namespace sidekick::host {

namespace {

/// As the module declares it: far more than the default limits can fill. Beyond it, the module
/// traps.
constexpr std::int64_t memory_bytes_max = std::int64_t{1} << 30;
/// Smallest size of the module's buffer.
constexpr u64 room_bytes_min = 4096;

struct FreeStore {
  void operator()(wasmtime_store_t* store) const { wasmtime_api.wasmtime_store_delete(store); }
};

/// wasmtime writes each cause in a line of its own.
std::string in_one_line(std::string_view message) {
  std::string line;
  for (std::size_t at = 0; at < message.size();) {
    const std::size_t end = std::min(message.find('\n', at), message.size());
    const std::size_t start = std::min(message.find_first_not_of(' ', at), end);
    const std::string_view part = message.substr(start, end - start);
    if (part == "Caused by:")
      line += ":";
    else if (!part.empty())
      line.append(line.empty() ? "" : " ").append(part);
    at = end + 1;
  }
  return line;
}

std::string take_trap_message(wasm_trap_t* trap) {
  wasm_message_t text;
  wasmtime_api.wasm_trap_message(trap, &text);
  const bool has_nul = text.size > 0 && text.data[text.size - 1] == '\0';
  std::string message(text.data, has_nul ? text.size - 1 : text.size);
  wasmtime_api.wasm_byte_vec_delete(&text);
  wasmtime_api.wasm_trap_delete(trap);
  return in_one_line(message);
}

/// An instance of the module, and its exports.
class Instance {
 public:
  Instance(wasm_engine_t& engine, wasmtime_module_t& module)
      : store_(wasmtime_api.wasmtime_store_new(&engine, nullptr, nullptr)) {
    wasmtime_api.wasmtime_store_limiter(store_.get(), memory_bytes_max, -1, 1, -1, 1);
    wasm_trap_t* trap = nullptr;
    wasmtime_error_t* error =
        wasmtime_api.wasmtime_instance_new(context(), &module, nullptr, 0, &instance_, &trap);
    if (error != nullptr) throw ModuleError("cannot instantiate it: " + take_message(error));
    if (trap != nullptr) {
      throw ModuleError("trap at instantiation: " + take_trap_message(trap));
    }
    memory_ = find("memory", WASMTIME_EXTERN_MEMORY).of.memory;
    call(function("_initialize", 0, 0));
    const u32 version = call(function("sidekick_abi_version", 0));
    if (version != SIDEKICK_ABI_VERSION) {
      throw ModuleError("ABI version: expected " + std::to_string(SIDEKICK_ABI_VERSION) +
                        ", found " + std::to_string(version) +
                        "; build module and server from the same source");
    }
  }

  /// Every parameter and result of the border is an i32. call() does not check types, so other
  /// functions are rejected here.
  wasmtime_func_t function(const char* name, std::size_t parameters, std::size_t results = 1) {
    const wasmtime_func_t function = find(name, WASMTIME_EXTERN_FUNC).of.func;
    wasm_functype_t* type = wasmtime_api.wasmtime_func_type(context(), &function);
    const auto are_words = [](const wasm_valtype_vec_t& types, std::size_t count) {
      const auto is_word = [](const wasm_valtype_t* it) {
        return wasmtime_api.wasm_valtype_kind(it) == WASM_I32;
      };
      return types.size == count && std::all_of(types.data, types.data + types.size, is_word);
    };
    const bool is_right = are_words(*wasmtime_api.wasm_functype_params(type), parameters) &&
                          are_words(*wasmtime_api.wasm_functype_results(type), results);
    wasmtime_api.wasm_functype_delete(type);
    if (!is_right) {
      throw ModuleError(std::string("not a Sidekick module: ") + name +
                        " has other parameters or results");
    }
    return function;
  }

  template <class... Arguments>
  u32 call(const wasmtime_func_t& function, Arguments... arguments) {
    wasmtime_val_raw_t values[sizeof...(arguments) + 1]{};  // not every function has a result
    u32 count = 0;
    ((values[count++].i32 = static_cast<std::int32_t>(arguments)), ...);
    wasm_trap_t* trap = nullptr;
    wasmtime_error_t* error = wasmtime_api.wasmtime_func_call_unchecked(
        context(), &function, values, sizeof...(arguments) + 1, &trap);
    if (error != nullptr) throw Trap(take_message(error));
    if (trap != nullptr) throw Trap(take_trap_message(trap));
    return static_cast<u32>(values[0].i32);
  }

  /// Valid until the next call, which may grow the memory.
  std::span<char> memory() {
    return {reinterpret_cast<char*>(wasmtime_api.wasmtime_memory_data(context(), &memory_)),
            wasmtime_api.wasmtime_memory_data_size(context(), &memory_)};
  }
  std::span<char> part(u32 address, u64 size) {
    const std::span<char> all = memory();
    if (address + size > all.size()) throw Trap("the module's text is outside its memory");
    return all.subspan(address, size);
  }

 private:
  wasmtime_context_t* context() { return wasmtime_api.wasmtime_store_context(store_.get()); }

  wasmtime_extern_t find(const char* name, wasmtime_extern_kind_t kind) {
    wasmtime_extern_t item;
    const bool is_there = wasmtime_api.wasmtime_instance_export_get(context(), &instance_, name,
                                                                    std::strlen(name), &item);
    if (!is_there || item.kind != kind) {
      throw ModuleError(std::string("not a Sidekick module: it does not export ") + name);
    }
    return item;
  }

  std::unique_ptr<wasmtime_store_t, FreeStore> store_;
  wasmtime_instance_t instance_;
  wasmtime_memory_t memory_;
};

class ModuleRuntime final : public Runtime {
 public:
  ModuleRuntime(wasm_engine_t& engine, wasmtime_module_t& module, Bytes config)
      : instance_(engine, module),
        buffer_(instance_.function("sidekick_buffer", 1)),
        handle_(instance_.function("sidekick_handle", 2)),
        admit_(instance_.function("sidekick_admit", 2)),
        recorded_(instance_.function("sidekick_recorded", 1)) {
    config.copy(room(config.size()), config.size());
    hub_ = instance_.call(instance_.function("sidekick_create", 1), config.size());
    if (hub_ == 0) {
      throw ConfigError(std::string(text(instance_.call(instance_.function("sidekick_error", 0)))));
    }
  }

  std::span<const Action> handle(Millis now, const Input& input) override {
    const u32 size = put_input(now, input);
    const u32 address = instance_.call(handle_, hub_, size);
    const char* wrong = codec::decode_actions(instance_.memory(), address, actions_);
    if (wrong != nullptr) throw Trap(wrong);
    return actions_.all();
  }

  Verdict admit(const input::HttpRequest& request) override {
    const u32 size = put_input(0, request);
    const u32 address = instance_.call(admit_, hub_, size);
    const auto [kind, body_bytes_max] = words<2>(address);
    return {static_cast<VerdictKind>(kind), body_bytes_max,
            text(address + 2 * sizeof(u32))};  // sidekick_verdict: two words, then a text
  }

  Limits limits() override {
    constexpr std::size_t count = sizeof(Limits) / sizeof(u32);
    return std::bit_cast<Limits>(
        words<count>(instance_.call(instance_.function("sidekick_limits", 1), hub_)));
  }

  Bytes describe(u32 format) override {
    return text(instance_.call(instance_.function("sidekick_describe", 2), hub_, format));
  }
  void record(u32 format) override {
    instance_.call(instance_.function("sidekick_record", 2, 0), hub_, format);
  }
  Bytes recorded() override { return text(instance_.call(recorded_, hub_)); }
  Bytes record_input(Millis now, const Input& input) override {
    const u32 size = put_input(now, input);
    return text(instance_.call(instance_.function("sidekick_record_input", 2), hub_, size));
  }
  Bytes metrics() override {
    return text(instance_.call(instance_.function("sidekick_metrics", 1), hub_));
  }
  std::size_t memory_bytes() override { return instance_.memory().size(); }
  Bytes hash() override {
    return text(instance_.call(instance_.function("sidekick_hash", 1), hub_));
  }

 private:
  u32 put_input(Millis now, const Input& input) {
    const u64 size = codec::input_bytes(input);
    codec::encode_input(now, input, room(size));
    return static_cast<u32>(size);
  }
  /// The module's buffer stays in place until the next request for it, and most inputs fit into it.
  char* room(u64 size) {
    const u64 bytes = std::max(size, room_bytes_min);
    if (bytes != room_bytes_) room_ = instance_.call(buffer_, bytes);
    room_bytes_ = bytes;
    return instance_.part(room_, size).data();
  }

  template <std::size_t count>
  std::array<u32, count> words(u32 address) {
    std::array<u32, count> words;
    std::memcpy(words.data(), instance_.part(address, sizeof words).data(), sizeof words);
    return words;
  }
  Bytes text(u32 address) {
    const auto [place, size] = words<2>(address);
    const std::span<char> bytes = instance_.part(place, size);
    return {bytes.data(), bytes.size()};
  }

  Instance instance_;
  wasmtime_func_t buffer_, handle_, admit_, recorded_;
  u32 hub_ = 0;
  u32 room_ = 0;
  u64 room_bytes_ = 0;
  Actions actions_;
};

}  // namespace

WasmEnginePtr new_wasm_engine() {
  wasm_config_t* config = wasmtime_api.wasm_config_new();
  wasmtime_api.wasmtime_config_cranelift_nan_canonicalization_set(config, true);
  wasmtime_api.wasmtime_config_wasm_relaxed_simd_set(config, false);
  return WasmEnginePtr(wasmtime_api.wasm_engine_new_with_config(config));
}

ModulePtr compile_module(wasm_engine_t& engine, std::string_view wasm) {
  wasmtime_module_t* module = nullptr;
  wasmtime_error_t* error = wasmtime_api.wasmtime_module_new(
      &engine, reinterpret_cast<const std::uint8_t*>(wasm.data()), wasm.size(), &module);
  if (error != nullptr) {
    throw ModuleError(
        "expected a WebAssembly module; build it with scripts/build, or copy it again (" +
        take_message(error) + ")");
  }
  return ModulePtr(module);
}

void check_module(wasm_engine_t& engine, wasmtime_module_t& module) { Instance(engine, module); }

std::unique_ptr<Runtime> module_runtime(wasm_engine_t& engine, wasmtime_module_t& module,
                                        Bytes config) {
  return std::make_unique<ModuleRuntime>(engine, module, config);
}

std::string take_message(wasmtime_error_t* error) {
  wasm_name_t text;
  wasmtime_api.wasmtime_error_message(error, &text);
  std::string message(text.data, text.size);
  wasmtime_api.wasm_byte_vec_delete(&text);
  wasmtime_api.wasmtime_error_delete(error);
  return in_one_line(message);
}

}  // namespace sidekick::host
