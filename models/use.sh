#!/bin/sh
# Prints the command that adds the models of a folder that are meant for use, each as the default of its kind: models/use.sh FOLDER.
set -eu
out=$(CDPATH= cd "$1" && pwd)
here=$(CDPATH= cd "$(dirname "$0")" && pwd)

# A word that a shell reads as it is, whatever is in it.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

tally=tally
if ! command -v tally >/dev/null 2>&1; then
    program=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tally/target}/release/tally
    tally=$(quoted "$program")
    [ -x "$program" ] || printf 'make -C %s build && ' "$(quoted "$here/..")"
fi
printf '%s model add %s --default && %s model add %s --default\n' \
    "$tally" "$(quoted "$out/tally-recall.q8_0.gguf")" "$tally" "$(quoted "$out/tally-rerank.q8_0.gguf")"
