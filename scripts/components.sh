#!/usr/bin/env bash
# Builds every sample agent and plugin into a directory, each only when its sources changed.
#
#   scripts/components.sh TALLY OUT
set -euo pipefail
tally=$1 out=$2
cd "$(dirname "$0")/.."
mkdir -p "$out"

# What a component is made from: its own folder, the SDKs, the contract, the builder.
fingerprint() {
    { git ls-files -co --exclude-standard -z -- "$1" plugins/sdk-* wit | sort -z | xargs -0 sh -c 'for file; do [ -d "$file" ] || sha256sum "$file"; done' sh
      sha256sum "$tally" | cut -d' ' -f1; } | sha256sum | cut -d' ' -f1
}

for dir in plugins/text-tools plugins/bench-guest*/ sample-agents/*/; do
    dir=${dir%/}
    name=$(basename "$dir")
    now=$(fingerprint "$dir")
    if [ -f "$out/$name.wasm" ] && [ "$(cat "$out/$name.sources" 2>/dev/null)" = "$now" ]; then
        continue
    fi
    echo "building $dir" >&2
    "$tally" agent build "$dir" --out "$out/$name.wasm"
    echo "$now" >"$out/$name.sources"
done
