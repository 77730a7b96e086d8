// Prints what the compiler makes of wasmtime.h: sizes, offsets and the types of every function that
// the host calls, one line each. wasmtime-api.test.ts compares it with what wasmtime's own bindings
// say.
#include <cstddef>
#include <cstdio>
#include <string>
#include <type_traits>

#include <wasmtime.h>

namespace {

template <class T>
std::string name_of() {
  if constexpr (std::is_void_v<T>) {
    return "void";
  } else if constexpr (std::is_pointer_v<T>) {
    return "pointer";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else {
    static_assert(std::is_integral_v<T>);
    return (std::is_signed_v<T> ? "i" : "u") + std::to_string(8 * sizeof(T));
  }
}

/// Takes a type, not an address: nothing is linked.
template <class>
struct Function;
template <class Result, class... Arguments>
struct Function<Result(Arguments...)> {
  static void print(const char* name) {
    std::string line = name_of<Result>() + " " + name + "(";
    ((line += name_of<Arguments>() + " "), ...);
    if (line.back() == ' ') line.pop_back();
    std::printf("%s)\n", line.c_str());
  }
};

}  // namespace

#define SIZE(Type) std::printf(#Type " size %zu align %zu\n", sizeof(Type), alignof(Type));
#define FIELD(Type, field) \
  std::printf(#Type "." #field " at %zu size %zu\n", offsetof(Type, field), sizeof(Type::field));
#define CONSTANT(name) std::printf(#name " is %d\n", name);

int main() {
  CONSTANT(WASMTIME_VERSION_MAJOR)
  CONSTANT(WASM_I32)
  CONSTANT(WASMTIME_EXTERN_FUNC)
  CONSTANT(WASMTIME_EXTERN_MEMORY)
  SIZE(wasm_byte_vec_t)
  FIELD(wasm_byte_vec_t, size)
  FIELD(wasm_byte_vec_t, data)
  SIZE(wasm_valtype_vec_t)
  FIELD(wasm_valtype_vec_t, size)
  FIELD(wasm_valtype_vec_t, data)
  SIZE(wasmtime_extern_t)
  FIELD(wasmtime_extern_t, kind)
  FIELD(wasmtime_extern_t, of)
  SIZE(wasmtime_extern_union_t)
  FIELD(wasmtime_extern_union_t, func)
  FIELD(wasmtime_extern_union_t, memory)
  SIZE(wasmtime_func_t)
  SIZE(wasmtime_instance_t)
  SIZE(wasmtime_memory_t)
  SIZE(wasmtime_val_raw_t)
  FIELD(wasmtime_val_raw_t, i32)
#define SIDEKICK_WASMTIME_FUNCTION(name) Function<decltype(::name)>::print(#name);
#include "runtime/wasmtime_functions.def"
}
