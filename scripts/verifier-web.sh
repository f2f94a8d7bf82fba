#!/usr/bin/env bash
# Builds the verifier for browsers: prints where the module is.
#
#   scripts/verifier-web.sh
#
# It is built as everything is, but without names and line tables, which a page would load and nobody read.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tally/target}
CARGO_TARGET_DIR=$target CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=false \
    cargo build --quiet --locked --release --target wasm32-unknown-unknown -p tally-verifier-web
echo "$target/wasm32-unknown-unknown/release/tally_verifier_web.wasm"
