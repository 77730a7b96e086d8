# Run by `npm pack`: checks what `scripts/build` makes, and adds the documentation that the README
# refers to.
set -eu
for file in dist/node/cli.js dist/cloudflare/index.js dist/inspector.html module/sidekick.wasm \
  module/shard.wasm; do
  [ -f "$file" ] || {
    echo "npm pack: $file is missing: run scripts/build module" >&2
    exit 1
  }
done
mkdir -p docs
cp ../docs/client.md ../docs/protocol.md docs/
