// Random values that a host passes to its hub, which has no randomness of its own.

/** Names a hub: 1 to 2^53-1. Two hubs of one host must not have the same. */
export function randomEpoch(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low || 1;
}

/**
 * 16 hex digits. Unpredictable: strangers choose resource names and must not be able to choose
 * collisions.
 */
export function randomDigits(): string {
  return [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
