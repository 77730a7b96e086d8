/* The border between a host and shard.wasm, the engine that several hubs share on Cloudflare: plain
 * C, no imports. The module exports exactly these functions; the build checks that. The meaning of
 * each call is described in core/include/sidekick/shard.hpp.
 *
 * The rules of sidekick_abi.h hold here, too: one thread, nothing reentrant, little-endian u32
 * words, renewed views after every call, and a trap makes the instance unusable.
 *
 * Life of a shard:
 *   _initialize()                                          once, before anything else
 *   p = sidekick_shard_buffer(n); write the settings at p; shard = sidekick_shard_create(n)
 *   of a durable shard: one `restore` for each stored row, then `restored`
 *   p = sidekick_shard_buffer(n); write a call at p;       out = sidekick_shard_handle(shard, n) */
#ifndef SIDEKICK_SHARD_ABI_H
#define SIDEKICK_SHARD_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Incremented with every incompatible change of this header. A host checks it when it loads the
 * module. */
#define SIDEKICK_SHARD_ABI_VERSION 2u

#if defined(__wasm__)
#define SIDEKICK_EXPORT(name) __attribute__((export_name(#name)))
#else
#define SIDEKICK_EXPORT(name)
#endif

typedef struct sidekick_shard sidekick_shard;

/* The calls, and their texts: */
enum sidekick_shard_call {
  SIDEKICK_SHARD_RUN = 1,           /* the script, its arguments. Values: the script's */
  SIDEKICK_SHARD_ATTACH = 2,        /* the node */
  SIDEKICK_SHARD_DETACH = 3,        /* the node */
  SIDEKICK_SHARD_JOIN = 4,          /* the node, topics. Status 1: it is not attached */
  SIDEKICK_SHARD_LEAVE = 5,         /* the node, topics. Status 1: it is not attached */
  SIDEKICK_SHARD_REPLACE_JOINS = 6, /* the node, topics. Status 1: it is not attached */
  SIDEKICK_SHARD_TICK = 7,          /* none */
  SIDEKICK_SHARD_RESTORE = 8,       /* the key and the value of a row. Status 1: it is ignored */
  SIDEKICK_SHARD_RESTORED = 9,      /* none */
  SIDEKICK_SHARD_HOLDS = 10, /* none. Values: of each hold token, node, session, expires_at */
  SIDEKICK_SHARD_JOINED = 11 /* the node. Status 1: it is not attached. Values: its topics */
};

SIDEKICK_EXPORT(sidekick_shard_abi_version) uint32_t sidekick_shard_abi_version(void);

/* Returns the input buffer of this instance, with room for at least `size` bytes, 8-aligned.
 * Growing discards its content; the address is valid until the next call of
 * sidekick_shard_buffer. */
SIDEKICK_EXPORT(sidekick_shard_buffer) uint8_t* sidekick_shard_buffer(uint32_t size);

/* Creates the shard of this instance from the first `size` bytes of the buffer: u32 version of this
 * header, two words that are 0, u64 hash_seed, u64 bytes_max, u64 run_bytes_max (0: the default),
 * u32 length of the server's name, u32 length of the epoch (0: not durable), then these two texts.
 * Traps if the layout is wrong: that is a bug of the host. */
SIDEKICK_EXPORT(sidekick_shard_create) sidekick_shard* sidekick_shard_create(uint32_t size);

SIDEKICK_EXPORT(sidekick_shard_destroy) void sidekick_shard_destroy(sidekick_shard* shard);

/* Applies one call from the first `size` bytes of the buffer and returns the address of its result.
 * The result and the texts that it points to are valid until the next call on this shard.
 *
 * Call: u32 sidekick_shard_call, u32 now_low, u32 now_high (microseconds since the Unix epoch; only
 * RUN, TICK and RESTORED need it), u32 count of texts, the length of each, then their bytes without
 * padding.
 *
 * Result, in words; a text is its address and its length:
 * - u32 status
 * - u64 alarm_at: when TICK must be called next, in milliseconds since the Unix epoch; 0: never
 * - u64 stored_bytes
 * - u32 count of values, each a text
 * - u32 count of publications: of each u32 count of the nodes that receive it, each a text, then
 * the texts topic, body
 * - u32 count of rows to store, in this order, each the text key, u32 is_put, the text value
 *
 * A host stores the rows before it sends anything that follows from the call.
 *
 * Traps if the layout is wrong, or if a durable shard gets RESTORE after RESTORED, or anything else
 * before it: that is a bug of the host. */
SIDEKICK_EXPORT(sidekick_shard_handle)
const uint32_t* sidekick_shard_handle(sidekick_shard* shard, uint32_t size);

#ifdef __cplusplus
}
#endif
#endif
