#!/usr/bin/env bash
# All tests. Stops at the first part that fails; ends with how long each part took.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tally
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
python=$cache/venv/bin/python
tally=$CARGO_TARGET_DIR/release/tally
summary=""

part() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@"
    summary+=$(printf '%6d s  %s' $((SECONDS - start)) "$name")$'\n'
}

pure_crates_build_for_wasm32() {
    for package in tally-receipt tally-capability tally-log tally-ledger; do
        cargo check --locked --release --target wasm32-unknown-unknown -p "$package"
    done
    cargo check --locked --release --target wasm32-unknown-unknown -p tally-journal --no-default-features
}

independent_readers() {
    local reader
    for reader in receipts/receipt/reader runtime/journal/reader vaults/reader p2p-ledger/reader; do
        (cd "$reader" && "$python" -m unittest -v)
    done
}

# The card of the small model, its figures and its held-out sets.
small_model() { (cd models/nano && "$python" -m unittest -v test_nano); }

# Receipts and proofs are checked in a page as they are here: by the vectors, through the module that it loads.
verifier_for_browsers() {
    TALLY_VERIFIER=$(scripts/verifier-web.sh) node --test p2p-ledger/verifier-web/tests/
}

guests() { bash scripts/test-guests.sh "$python"; }

part "formatting" cargo fmt --all --check
part "lints" cargo clippy --locked --release --workspace --all-targets -- -D warnings
# As the tests are built, binaries included: `cargo build` takes fewer features and would compile most crates a second time.
part "build" cargo test --locked --release --workspace --no-run
part "pure crates build for wasm32-unknown-unknown" pure_crates_build_for_wasm32
part "independent readers, in Python" independent_readers
part "the small model's card and held-out sets" small_model
part "verifier for browsers" verifier_for_browsers
part "guest SDKs and plugins" guests
part "components" scripts/components.sh "$tally" "$cache/components"
part "Rust tests" env TALLY_COMPONENTS="$cache/components" TALLY_VERIFIER="$(scripts/verifier-web.sh)" cargo test --locked --release --workspace
printf '\n%s' "$summary"
