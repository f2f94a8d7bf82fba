#!/usr/bin/env bash
# Runs every fuzz target of the ledger for some time, and stops at the first that finds something.
#
#   scripts/fuzz-ledger.sh [SECONDS]       for each target; 60 unless said otherwise
#
# It needs a nightly compiler and cargo-fuzz, which nothing else here does and which are not installed by `scripts/setup.sh`:
#   rustup toolchain install nightly && cargo install cargo-fuzz
# What the targets learn stays in p2p-ledger/*/fuzz/corpus, what they find in fuzz/artifacts; git ignores both.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
# Apart from everything else: it is built with other flags.
export CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/tally/fuzz

if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "fuzz-ledger: needs a nightly compiler and cargo-fuzz: rustup toolchain install nightly && cargo install cargo-fuzz" >&2
    exit 3
fi
for crate in log ledger net node; do
    (
        cd "p2p-ledger/$crate"
        if [ -f fuzz/examples/seeds.rs ]; then
            cargo +nightly run --quiet --manifest-path fuzz/Cargo.toml --example seeds fuzz/corpus
        fi
        for target in $(cargo +nightly fuzz list); do
            printf '\n== %s: %s\n' "$crate" "$target"
            # One allocation of more than 64 MiB is a finding: no limit of a message or a file's frame is above 16 MiB.
            cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -timeout=20 -malloc_limit_mb=64
        done
    )
done
