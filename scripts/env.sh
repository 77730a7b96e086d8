# Sourced by the other scripts: where things are, and how they talk. Changes nothing on disk.
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# A Node of our own, where the machine's is missing or older than 20 (scripts/setup puts it there).
if [[ -x $root/build/tools/node_modules/node/bin/node ]]; then
  PATH=$root/build/tools/node_modules/node/bin:$PATH
fi

# What takes minutes to build is built once per machine, in a cache that all clones share.
sidekick_cache=${SIDEKICK_CACHE:-${XDG_CACHE_HOME:-${HOME:-$root/build}/.cache}/sidekick}

# wasmtime: the machine's own where WASMTIME_PREFIX names one, else what scripts/wasmtime builds. The name tells from what.
wasmtime_crates=$root/worker/native/wasmtime
wasmtime_version=$(sed -n 's/^wasmtime-c-api-impl = { version = "=\([^"]*\)".*/\1/p' "$wasmtime_crates/c-api/Cargo.toml")
wasmtime_command_features=run,cranelift
wasmtime_cached=$sidekick_cache/wasmtime-$wasmtime_version-$(
  { echo "$wasmtime_command_features" && grep -hv '^#' "$wasmtime_crates"/{Cargo.toml,Cargo.lock,c-api/Cargo.toml}; } | sha256sum | cut -c1-12
)
export WASMTIME_PREFIX=${WASMTIME_PREFIX:-$wasmtime_cached}

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
has_node_20() { command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; }
