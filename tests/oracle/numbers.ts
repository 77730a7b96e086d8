// The numbers of docs/protocol.md that the reference is corrected to. Written out, and not taken from what is generated from limits.def: a
// default that is wrong there must be seen here.
export const NUMBERS = {
  token_bytes_max: 256,
  channel_bytes_max: 256,
  param_name_bytes_max: 256,
  param_value_bytes_max: 1024,
  resource_bytes_max: 1024,
  token_ttl_ms: 300_000,
  token_resume_ms: 60_000,
  forward_timeout_ms: 30_000,
} as const;
