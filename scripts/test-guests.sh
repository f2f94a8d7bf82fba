#!/usr/bin/env bash
# The guests' own tests (SDKs, plugins, sample agents), on this machine's processor rather than in WebAssembly.
#
#   scripts/test-guests.sh PYTHON
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tally
export CARGO_TARGET_DIR=$cache/guests

for crate in plugins sample-agents/answer-with-sources sample-agents/trip-notes sample-agents/remember-and-ask; do
    (cd "$crate" && cargo fmt --all --check && cargo clippy --locked --release --all-targets -- -D warnings)
done
(cd plugins && cargo test --locked --release)
(cd plugins/bench-guest && cargo clippy --locked --release --target wasm32-wasip2 -- -D warnings)
(cd sample-agents/answer-with-sources && cargo test --locked --release --lib)
(cd plugins/sdk-python && "$python" -m unittest discover -s tests -v)
for agent in plan-with-a-tool trip-brief; do
    (cd "sample-agents/$agent" && "$python" -m unittest -v test_app)
done
(cd plugins/sdk-js && npm test --silent)
(cd sample-agents/review-against-a-schema && node --import ./sdk/tests/fakes.mjs --test agent.test.mjs)
