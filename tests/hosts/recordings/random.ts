// Pseudo-random numbers, determined by a seed. Owns nothing else.
export interface Random {
  /** An integer from 0 to `count` - 1. */
  below(count: number): number;
  pick<T>(from: readonly T[]): T;
}

export function random(seed: number): Random {
  let state = (seed ^ 0x9e3779b9) | 0;
  const below = (count: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return Math.floor((((state ^ (state >>> 15)) >>> 0) / 2 ** 32) * count);
  };
  return { below, pick: (from) => from[below(from.length)]! };
}
