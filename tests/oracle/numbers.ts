// The numbers of docs/protocol.md to which the reference is corrected. Written out instead of
// generated from limits.def, so that a wrong default there is detected here.
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
