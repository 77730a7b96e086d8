//! Gives a C linker wasmtime's C API. Owns nothing.
pub use wasmtime_c_api::*;
