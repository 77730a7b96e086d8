# Sourced by the other scripts: paths, messages, locks, and marks that make them safe to interrupt.
# Changes nothing on disk.
unset CDPATH # with it, cd can go elsewhere, and prints
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# Downloads and slow builds are kept once per machine, in a cache that all clones share.
sidekick_cache=${SIDEKICK_CACHE:-${XDG_CACHE_HOME:-${HOME:-$root/build}/.cache}/sidekick}

# Relative to the caller's folder: a script that this one calls runs in another.
if [[ $sidekick_cache != /* ]]; then
  sidekick_cache=$PWD/$sidekick_cache
  export SIDEKICK_CACHE=$sidekick_cache
fi
for name in WASMTIME_PREFIX BENCH_WASMTIME_PREFIX; do
  [[ -z ${!name:-} || ${!name} == /* ]] || export "$name=$PWD/${!name}"
done
unset name

# wasmtime: the machine's own if WASMTIME_PREFIX is set, otherwise the download of scripts/wasmtime,
# in a folder whose name changes with the pinned files.
wasmtime_pins=$root/worker/native/runtime/requirements.txt
wasmtime_version=$(sed -n 's/^wasmtime==\([^ ]*\).*/\1/p' "$wasmtime_pins")
wasmtime_cached=$sidekick_cache/wasmtime-wheel-$wasmtime_version-$(uname -m)-$(
  grep -v '^#' "$wasmtime_pins" | sha256sum | cut -c1-12
)
export WASMTIME_PREFIX=${WASMTIME_PREFIX:-$wasmtime_cached}

# Git refuses a clone that belongs to another user, as it does for root in a container.
if [[ -z ${GIT_CONFIG_COUNT:-} ]]; then
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory
  GIT_CONFIG_VALUE_0=$(cd -- "$root" && pwd -P)
  export GIT_CONFIG_VALUE_0
fi

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
misuse() { # the caller defines usage
  printf '%s: %s\n\n' "${0##*/}" "$*" >&2
  usage >&2
  exit 2
}

# For a script without arguments, whose help is the comment at its head.
expect_no_arguments() {
  (($# > 0)) || return 0
  usage() { sed -n '2,/^set /s/^# \?//p' "$0"; }
  [[ $* != -h && $* != --help ]] || { usage; exit; }
  misuse "expected no argument, got '$*'"
}

# apt-get and others handle Ctrl-C themselves; without this trap, bash would continue after them.
trap 'exit 130' INT

# One script at a time installs and builds in this clone. The scripts that it calls share its lock.
lock() {
  [[ ${SIDEKICK_LOCKED:-} != "$root" ]] || return 0
  mkdir -p "$root/build"
  exec 8>"$root/build/.lock"
  wait_for_lock 8 "this clone"
  export SIDEKICK_LOCKED=$root
}
# One script at a time installs for the whole machine.
lock_machine() {
  make_cache
  exec 7>"$sidekick_cache/.lock"
  wait_for_lock 7 "another clone"
}
make_cache() {
  mkdir -p "$sidekick_cache" && [[ -w $sidekick_cache ]] ||
    fail "cannot write to the cache '$sidekick_cache': set SIDEKICK_CACHE to another folder"
}
unlock_machine() { exec 7>&-; }
wait_for_lock() { # descriptor, holder
  flock -n "$1" || { echo "waiting for a script of $2" >&2 && flock "$1"; }
}

# Marks: a step that writes many files finally writes a file with the hash of its inputs. After
# Ctrl-C the mark is missing, after a change it differs: in both cases the step runs again.
hash_of() { sha256sum "$@" | sha256sum | cut -c1-16; }
is_made() { [[ -f $1 && $(<"$1") == "$2" ]]; }

# Configures a preset. First removes CMake's cache, which remembers missing and moved files; objects
# stay. Takes a second or two.
configure() {
  local preset=$1 wrapper=()
  [[ $preset != emscripten ]] || wrapper=(emcmake)
  rm -rf "$root/build/$preset"/{CMakeCache.txt,CMakeFiles/[0-9]*}
  (cd "$root" && "${wrapper[@]}" cmake --preset "$preset" >/dev/null)
}

# Node and the npm packages that package-lock.json pins are there.
npm_mark=$root/node_modules/.installed-from
npm_pins() { (cd "$root" && hash_of package.json package-lock.json worker/package.json); }
has_npm_packages() { has_node && is_made "$npm_mark" "$(npm_pins)"; }

has_node() {
  command -v npm >/dev/null &&
    node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null
}
# The Node that scripts/setup installs if the machine's is missing or too old.
node_version=22.20.0
node_cached=$sidekick_cache/node-$node_version
use_cached_node() { has_node || [[ ! -d $node_cached ]] || PATH=$node_cached/bin:$PATH; }
use_cached_node
