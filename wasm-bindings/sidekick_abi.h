/* The border between a host and the Sidekick module: plain C, no imports. The module exports
 * exactly these functions; the build checks that.
 *
 * A module instance may hold several hubs. Nothing here is reentrant or thread-safe: use an
 * instance from one thread. Integers are little-endian u32 words in the module's memory; addresses
 * are offsets into that memory. Any call may grow the memory, so a host must renew its views of it
 * after every call.
 *
 * Life of a hub:
 *   _initialize()                                    once, before anything else
 *   p = sidekick_buffer(n); write the configuration text at p; hub = sidekick_create(n)
 *   p = sidekick_buffer(n); write an input at p;     out = sidekick_handle(hub, n)
 *   sidekick_destroy(hub)
 *
 * A trap (unreachable) means a bug in the module or the host: drop the instance, it is unusable. */
#ifndef SIDEKICK_ABI_H
#define SIDEKICK_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Incremented with every incompatible change of this header or of border.def. A host checks it when
 * it loads the module. */
#define SIDEKICK_ABI_VERSION 2u

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

/* Returns the input buffer of this instance, with room for at least `size` bytes, 8-aligned.
 * Growing discards its content; the address is valid until the next call of sidekick_buffer. */
SIDEKICK_EXPORT(sidekick_buffer) uint8_t* sidekick_buffer(uint32_t size);

/* Creates a hub from the configuration text in the first `size` bytes of the buffer: JSON or ION,
 * an object with the names of limits.def, `secrets` and `hash_seed` (must be random if strangers
 * are served). Returns 0 if the configuration is invalid; sidekick_error() returns the reason. */
SIDEKICK_EXPORT(sidekick_create) sidekick_hub* sidekick_create(uint32_t size);

/* Returns why the last sidekick_create returned 0. Valid until the next sidekick_create. */
SIDEKICK_EXPORT(sidekick_error) const sidekick_text* sidekick_error(void);

SIDEKICK_EXPORT(sidekick_destroy) void sidekick_destroy(sidekick_hub* hub);

/* Returns the effective limits of this hub, one word each, in the order of limits.def. Valid as
 * long as the hub. */
SIDEKICK_EXPORT(sidekick_limits) const uint32_t* sidekick_limits(sidekick_hub* hub);

/* Returns the first line of a trace of this hub, without a newline:
 * {"trace":2,"core":"…","hash_seed":"…","config":{every limit with its effective value}}. Never
 * contains a secret. `format`: of the trace, 1 or 2. Valid until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_describe)
const sidekick_text* sidekick_describe(sidekick_hub* hub, uint32_t format);

/* Applies one input from the first `size` bytes of the buffer and returns the address of the
 * actions. They and what they point to are valid until the next call on this hub.
 *
 * Input: u32 tag, u32 now_low, u32 now_high, then the fields of border.def in order, then the bytes
 * of all BYTES fields in order, without padding. Fields of an input:
 * - U32: the value
 * - U64: low word, high word
 * - BYTES: the length
 * - LIST: the count, then the length of each; their bytes come where those of BYTES do
 *
 * Actions: u32 count, then for each action u32 tag and its fields in order. Fields of an action:
 * - U32: the value
 * - U64: low word, high word
 * - BYTES: address, length
 * - LIST: the count, then address and length of each
 * - IDS: address, count of u32
 *
 * Traps if the layout is wrong: that is a bug of the host. */
SIDEKICK_EXPORT(sidekick_handle) const uint32_t* sidekick_handle(sidekick_hub* hub, uint32_t size);

/* What to do with a request: `kind` is a verdict of border.def. body_bytes_max: of a `body`.
 * protocol: of a `socket`. */
typedef struct sidekick_verdict {
  uint32_t kind;
  uint32_t body_bytes_max;
  sidekick_text protocol;
} sidekick_verdict;

/* Says what to do with a request, to be asked before its body is read. Changes nothing. The first
 * `size` bytes of the buffer hold an http_request, laid out as for sidekick_handle, without its
 * body; body_bytes is the declared size, or 0. Unless the verdict is `socket`, pass that
 * http_request to sidekick_handle: with the body if the verdict is `body` and the body is not
 * larger, else at once. Valid until the next call on this instance. */
SIDEKICK_EXPORT(sidekick_admit)
const sidekick_verdict* sidekick_admit(sidekick_hub* hub, uint32_t size);

/* Returns the metrics of this hub in the text format of Prometheus: the answer to a request with
 * the verdict `metrics`, before the families of the host. Not an input, and changes nothing.
 * O(state). Valid until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_metrics) const sidekick_text* sidekick_metrics(sidekick_hub* hub);

/* Turns recording on (`format`: 2, or 1 for the lines of an older version) or off (0). While on,
 * sidekick_recorded returns the trace lines of the
 * latest input: the input, each action, and occasionally a hash line, each with a newline. The call
 * formats them from the input in the buffer. A host makes it after performing the actions, and
 * before the next sidekick_buffer or sidekick_admit. */
SIDEKICK_EXPORT(sidekick_record) void sidekick_record(sidekick_hub* hub, uint32_t format);
SIDEKICK_EXPORT(sidekick_recorded) const sidekick_text* sidekick_recorded(sidekick_hub* hub);

/* Returns a hash line for the trace, with a newline: {"hash":{"inputs":…,"lines":"…","state":"…"}}.
 * "state" covers the state of the hub, recorded or not; "lines" covers what was recorded. While
 * recording, hash lines are also written automatically, at intervals of at least 1,024 inputs.
 * O(state). Valid until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_hash) const sidekick_text* sidekick_hash(sidekick_hub* hub);

/* Returns the trace line of the input in the buffer (laid out as for sidekick_handle) without
 * applying it. For an input that no trace would contain otherwise: the one at which another
 * instance trapped. Valid until the next call on this hub. */
SIDEKICK_EXPORT(sidekick_record_input)
const sidekick_text* sidekick_record_input(sidekick_hub* hub, uint32_t size);

#ifdef __cplusplus
}
#endif
#endif
