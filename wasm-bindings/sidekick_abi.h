/* The border between a host and the Sidekick module: plain C, no imports, the only exports there
 * are (checked in the build).
 *
 * A module instance may hold several hubs. Nothing here is reentrant or thread-safe: one instance,
 * one thread. Integers are little-endian u32 words in the module's memory; addresses are offsets
 * into that memory. Memory may grow in any call, so a host takes its views of it anew after every
 * call.
 *
 * Life of a hub:
 *   _initialize()                                    once, before anything else
 *   p = sidekick_buffer(n); write the configuration text at p; hub = sidekick_create(n)
 *   p = sidekick_buffer(n); write an input at p;     out = sidekick_handle(hub, n)
 *   sidekick_destroy(hub)
 *
 * A trap (unreachable) means a bug in the module or the host: the instance is broken, drop it.
 */
#ifndef SIDEKICK_ABI_H
#define SIDEKICK_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Incremented with every incompatible change of this header or of border.def. A host checks it on
 * load. */
#define SIDEKICK_ABI_VERSION 1u

#if defined(__wasm__)
#define SIDEKICK_EXPORT(name) __attribute__((export_name(#name)))
#else
#define SIDEKICK_EXPORT(name)
#endif

typedef struct sidekick_hub sidekick_hub;

/* A text in the module's memory: address and length in bytes. */
typedef struct sidekick_text {
  const char* data;
  uint32_t size;
} sidekick_text;

SIDEKICK_EXPORT(sidekick_abi_version) uint32_t sidekick_abi_version(void);

/* The one input buffer of this instance, at least `size` bytes, 8-aligned. Its content is lost when
 * it grows; the address is good until the next call of sidekick_buffer. */
SIDEKICK_EXPORT(sidekick_buffer) uint8_t* sidekick_buffer(uint32_t size);

/* Makes a hub from the configuration text (JSON or ION: an object with the names of limits.def,
 * `secrets`, `hash_seed`, which must be random where strangers are served) in the first `size`
 * bytes of the buffer. Returns 0 when the configuration is refused; sidekick_error() says why. */
SIDEKICK_EXPORT(sidekick_create) sidekick_hub* sidekick_create(uint32_t size);

/* Why the last sidekick_create returned 0. Good until the next sidekick_create. */
SIDEKICK_EXPORT(sidekick_error) const sidekick_text* sidekick_error(void);

SIDEKICK_EXPORT(sidekick_destroy) void sidekick_destroy(sidekick_hub* hub);

/* The first line of a trace of this hub: {"trace":1,"core":"…","hash_seed":"…","config":{every
 * limit with its effective value}}. Never a secret. A host reads the limits it must know from it.
 * Good until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_describe) const sidekick_text* sidekick_describe(sidekick_hub* hub);

/* Applies one input, laid out in the first `size` bytes of the buffer:
 *   u32 tag, u32 now_low, u32 now_high, then the fields of border.def in order (U32: the value;
 * U64: low, high; BYTES: the length), then the bytes of all BYTES fields, in order, without
 * padding. Returns the address of the actions: u32 count, then for each u32 tag and its fields in
 * order (U32: the value; U64: low, high; BYTES: address, length; IDS: address, count of u32). All
 * of it is good until the next call on this hub. Traps when the layout is wrong: that is a bug of
 * the host. */
SIDEKICK_EXPORT(sidekick_handle) const uint32_t* sidekick_handle(sidekick_hub* hub, uint32_t size);

/* A question that changes nothing: how many bytes of a request's body are worth reading, to be
 * asked before reading any. The buffer holds method, path and authorization, one after the other.
 * 0: the answer does not depend on the body (it will be a refusal, or the request takes none): pass
 * the request to sidekick_handle at once, with body_bytes as far as known and an empty body. */
SIDEKICK_EXPORT(sidekick_body_bytes_max)
uint32_t sidekick_body_bytes_max(sidekick_hub* hub, uint32_t method_size, uint32_t path_size,
                                 uint32_t authorization_size);

/* Recording: while on (1), sidekick_recorded returns the trace lines of the latest input (the
 * input's, then each action's, every one ended by a newline, and now and then a hash line). They
 * are made in that call, from the input in the buffer: a host calls it when it has performed the
 * actions, and before the next sidekick_buffer or sidekick_body_bytes_max. */
SIDEKICK_EXPORT(sidekick_record) void sidekick_record(sidekick_hub* hub, uint32_t on);
SIDEKICK_EXPORT(sidekick_recorded) const sidekick_text* sidekick_recorded(sidekick_hub* hub);

/* A line for the trace with what it has come to so far:
 * {"hash":{"inputs":…,"lines":"…","state":"…"}} and a newline. The state's hash is of all that the
 * hub knows, whether it is recorded or not; the lines' hash is of what was recorded. While
 * recording such a line comes by itself, at intervals of 1,024 inputs or more. O(state). Good until
 * the next call on this hub. */
SIDEKICK_EXPORT(sidekick_hash) const sidekick_text* sidekick_hash(sidekick_hub* hub);

/* The trace line of the input laid out in the buffer as for sidekick_handle, without applying it.
 * For the one input that no trace would have otherwise: the one at which another instance trapped.
 * Good until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_record_input)
const sidekick_text* sidekick_record_input(sidekick_hub* hub, uint32_t size);

#ifdef __cplusplus
}
#endif
#endif
