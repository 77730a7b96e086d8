# Sourced by the other scripts: where things are, and how they talk. Changes nothing on disk.
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# A Node of our own, where the machine's is missing or older than 20 (scripts/setup puts it there).
if [[ -x $root/build/tools/node_modules/node/bin/node ]]; then
  PATH=$root/build/tools/node_modules/node/bin:$PATH
fi

# Emscripten builds its system libraries into a cache; Debian's belongs to root.
if [[ -z ${EM_CACHE:-} && -d /usr/share/emscripten/cache && ! -w /usr/share/emscripten/cache ]]; then
  export EM_CACHE=$root/build/emscripten-cache
fi

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
has_node_20() { command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; }
