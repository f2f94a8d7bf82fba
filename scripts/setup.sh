#!/usr/bin/env bash
# Brings what the build needs and a fresh Debian or Ubuntu lacks. Prints nothing when nothing is missing.
#
#   scripts/setup.sh          compilers, Python and Node, the Rust target for guests, the readers' Python packages
#
# What is installed: g++, cmake and libclang (llama.cpp and its bindings), python3 with venv (Python agents and the
# independent readers), node with npm (JavaScript agents), Go with golang.org/x/mod (it reads our log in a test),
# the Rust targets wasm32-wasip2 (Rust agents)
# and wasm32-unknown-unknown (the check that receipts can be verified in a browser).
# Python packages go into a virtual environment under the user's cache; nothing is put into the system's Python.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tally
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' | grep -qE 'libclang(-[0-9.]+)?\.so' && return 0
    ldconfig -p 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so'
}

# bindgen needs clang's own headers (stddef.h) beside the library.
has_clang_headers() { compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null || compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null; }

missing=()
have g++ || missing+=(g++)
have cmake || missing+=(cmake)
{ has_libclang && has_clang_headers; } || missing+=(libclang-dev)
have python3 || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
have node || missing+=(nodejs)
have npm || missing+=(npm)
have go || missing+=(golang-go)
[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || missing+=(golang-golang-x-mod-dev)

if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    if ! have apt-get; then
        die "no apt-get here: install these with your system's package manager and run this again: ${missing[*]}"
    fi
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "not root and no sudo: ask an administrator for: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq || die "apt-get update failed: is the network up?"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
        die "apt-get install ${missing[*]} failed: see $cache/apt.log"
fi

have cargo || die "no cargo: install Rust 1.95 or later from your usual source (rustup), then run this again"
sysroot=$(rustc --print sysroot)
for target in wasm32-wasip2 wasm32-unknown-unknown; do
    [ -d "$sysroot/lib/rustlib/$target" ] && continue
    say "adding the Rust target $target"
    # A target that rustup believes to be there, and whose files are gone, is added again only after it was removed.
    { have rustup && rustup target add "$target" && [ -d "$sysroot/lib/rustlib/$target" ]; } >"$cache/rustup.log" 2>&1 ||
        { have rustup && rustup target remove "$target" && rustup target add "$target"; } >>"$cache/rustup.log" 2>&1 ||
        die "the Rust target $target cannot be added (see $cache/rustup.log). Running, replaying and verifying work
       without it, and so do agents in Python and JavaScript; Rust agents (wasm32-wasip2) and the check that receipts
       build for the browser (wasm32-unknown-unknown) do not. Where the Rust distribution server is out of reach,
       copy $sysroot/lib/rustlib/$target from a machine with the same rustc"
done

# One virtual environment for the independent readers; its content is named by the requirements file's hash.
stamp=$(sha256sum scripts/requirements.txt | cut -c1-16)
venv=$cache/venv
if [ ! -f "$venv/.tally-$stamp" ]; then
    say "preparing Python packages for the independent readers"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements.txt ||
        die "pip could not install scripts/requirements.txt: is a Python package index reachable?"
    touch "$venv/.tally-$stamp"
fi
