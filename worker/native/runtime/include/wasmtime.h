/*
 * The part of wasmtime's C API that this project calls, declared here so that no official header is
 * needed: the PyPI wheel that scripts/wasmtime downloads has the library but no headers.
 *
 * Names, types and layouts are those of the official wasmtime.h of the version below, so either
 * header compiles the same sources; CMake prefers the official one in WASMTIME_PREFIX.
 * tests/module/wasmtime-api.test.ts compares every declaration with the bindings of the pinned
 * wheel, and with the official header if there is one. The official documentation describes each
 * function.
 */
#ifndef WASMTIME_API_H
#define WASMTIME_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Layouts may differ in another major version: the loader rejects it. */
#define WASMTIME_VERSION_MAJOR 50

typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_valtype_t wasm_valtype_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasmtime_module wasmtime_module_t;
typedef struct wasmtime_store wasmtime_store_t;

typedef struct wasm_byte_vec_t {
  size_t size;
  char* data;
} wasm_byte_vec_t;
typedef wasm_byte_vec_t wasm_message_t;
typedef wasm_byte_vec_t wasm_name_t;

typedef struct wasm_valtype_vec_t {
  size_t size;
  wasm_valtype_t** data;
} wasm_valtype_vec_t;

typedef uint8_t wasm_valkind_t;
enum wasm_valkind_enum { WASM_I32 };

typedef struct wasmtime_instance {
  uint64_t store_id;
  size_t private_index;
} wasmtime_instance_t;

typedef struct wasmtime_func {
  uint64_t store_id;
  void* private_pointer;
} wasmtime_func_t;

typedef struct wasmtime_memory {
  struct {
    uint64_t store_id;
    uint32_t private_index;
  } head;
  uint32_t private_index;
} wasmtime_memory_t;

typedef uint8_t wasmtime_extern_kind_t;
#define WASMTIME_EXTERN_FUNC 0
#define WASMTIME_EXTERN_MEMORY 3

/* The omitted kinds (global, table, shared memory, tag) are not larger. */
typedef union wasmtime_extern_union {
  wasmtime_func_t func;
  wasmtime_memory_t memory;
} wasmtime_extern_union_t;

typedef struct wasmtime_extern {
  wasmtime_extern_kind_t kind;
  wasmtime_extern_union_t of;
} wasmtime_extern_t;

typedef union wasmtime_val_raw {
  int32_t i32;
  int64_t i64;
  uint8_t v128[16];
  void* funcref;
} wasmtime_val_raw_t;

wasm_config_t* wasm_config_new(void);
void wasmtime_config_cranelift_nan_canonicalization_set(wasm_config_t*, bool on);
void wasmtime_config_wasm_relaxed_simd_set(wasm_config_t*, bool on);

/* Takes ownership of the configuration. */
wasm_engine_t* wasm_engine_new_with_config(wasm_config_t*);
void wasm_engine_delete(wasm_engine_t*);

wasmtime_store_t* wasmtime_store_new(wasm_engine_t*, void* data, void (*finalizer)(void*));
void wasmtime_store_delete(wasmtime_store_t*);
wasmtime_context_t* wasmtime_store_context(wasmtime_store_t*);
/* Negative: the default. */
void wasmtime_store_limiter(wasmtime_store_t*, int64_t memory_bytes, int64_t table_elements,
                            int64_t instances, int64_t tables, int64_t memories);

wasmtime_error_t* wasmtime_module_new(wasm_engine_t*, const uint8_t* wasm, size_t wasm_size,
                                      wasmtime_module_t** module);
void wasmtime_module_delete(wasmtime_module_t*);
wasmtime_error_t* wasmtime_module_serialize(const wasmtime_module_t*, wasm_byte_vec_t* bytes);
wasmtime_error_t* wasmtime_module_deserialize(wasm_engine_t*, const uint8_t* bytes, size_t size,
                                              wasmtime_module_t** module);

/* Returns an error, or sets `trap`, or neither. */
wasmtime_error_t* wasmtime_instance_new(wasmtime_context_t*, const wasmtime_module_t*,
                                        const wasmtime_extern_t* imports, size_t import_count,
                                        wasmtime_instance_t*, wasm_trap_t** trap);
bool wasmtime_instance_export_get(wasmtime_context_t*, const wasmtime_instance_t*, const char* name,
                                  size_t name_size, wasmtime_extern_t* item);

wasm_functype_t* wasmtime_func_type(const wasmtime_context_t*, const wasmtime_func_t*);
const wasm_valtype_vec_t* wasm_functype_params(const wasm_functype_t*);
const wasm_valtype_vec_t* wasm_functype_results(const wasm_functype_t*);
void wasm_functype_delete(wasm_functype_t*);
wasm_valkind_t wasm_valtype_kind(const wasm_valtype_t*);

/*
 * Arguments in, results out, in one array with room for the longer of the two. Does not check
 * types.
 */
wasmtime_error_t* wasmtime_func_call_unchecked(wasmtime_context_t*, const wasmtime_func_t*,
                                               wasmtime_val_raw_t* values, size_t value_count,
                                               wasm_trap_t** trap);

/* Valid until the memory grows. */
uint8_t* wasmtime_memory_data(wasmtime_context_t*, const wasmtime_memory_t*);
size_t wasmtime_memory_data_size(const wasmtime_context_t*, const wasmtime_memory_t*);

void wasmtime_error_message(const wasmtime_error_t*, wasm_name_t* message);
void wasmtime_error_delete(wasmtime_error_t*);
void wasm_trap_message(const wasm_trap_t*, wasm_message_t* message);
void wasm_trap_delete(wasm_trap_t*);
void wasm_byte_vec_delete(wasm_byte_vec_t*);

#ifdef __cplusplus
}
#endif

#endif
