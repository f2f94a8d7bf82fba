# Two commands: `make demo` does all set-up and runs the main job; `make test` passes the tests.
# Everything is built once, with one profile, in a target directory under the user's cache, so that a second clone
# does not compile wasmtime and llama.cpp again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tally
export CARGO_TARGET_DIR ?= $(CACHE)/target
TALLY := $(CARGO_TARGET_DIR)/release/tally
COMPONENTS := $(CACHE)/components
CARGO := cargo --locked

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup:
	@scripts/setup.sh

.PHONY: build
build: setup ## The `tally` binary, and what browsers check proofs with
	@cargo build --locked --release -p tally-cli
	@scripts/verifier-web.sh >/dev/null
	@echo "built $(TALLY)" >&2

.PHONY: components
components: build ## The sample agents and plugins, as WebAssembly components, in the cache (~/.cache/tally/components)
	@scripts/components.sh $(TALLY) $(COMPONENTS)

.PHONY: demo
demo: components ## Set up everything and run the main job
	@scripts/embedding-model.sh $(TALLY) $(CACHE)/models
	@$(TALLY) demo --components $(COMPONENTS)

.PHONY: simulate
simulate: ## The ledger's network with 10,000 seeds of every fault (docs/ledger.md)
	@TALLY_SEEDS=10000 $(CARGO) test --release -p tally-net -p tally-node --lib simulation

.PHONY: test
test: setup ## All tests
	@scripts/test.sh

.PHONY: qdrant
qdrant: setup ## Vectors searched by Qdrant, built and tested (docs/qdrant.md); hundreds of crates more, so not part of `make test`
	@$(CARGO) test --release -p tally-qdrant --features loopback -- --nocapture
	@cargo clippy --locked --release -p tally-cli --all-targets --features qdrant-edge,qdrant-server -- -D warnings

.PHONY: fuzz-ledger
fuzz-ledger: ## Every decoder of the ledger under libFuzzer, FUZZ_SECONDS=60 each; needs a nightly compiler and cargo-fuzz, so not part of `make test`
	@scripts/fuzz-ledger.sh $(or $(FUZZ_SECONDS),60)

.PHONY: lint
lint: setup ## Formatting and lints, as the tests run them
	@cargo fmt --all --check
	@cargo clippy --locked --release --workspace --all-targets -- -D warnings

.PHONY: models
models: setup ## The embedding and reranking models, built by recipe into the cache, and tally-nano as it is (models/)
	@models/build.sh

.PHONY: bench
bench: components ## The project's own benchmarks, as JSON
	@$(TALLY) bench engine --json $(foreach name,bench-guest bench-guest-js bench-guest-python,--component $(COMPONENTS)/$(name).wasm)
	@$(TALLY) bench inference --json
	@$(TALLY) bench ledger --component $(COMPONENTS)/answer-with-sources.wasm --json
	@$(TALLY) bench memory --folder $(CACHE) --json
	@$(TALLY) bench receipts --json
	@$(TALLY) bench vault --folder $(CACHE) --json

.PHONY: clean
clean: ## Remove what was built (the cache is shared by all clones)
	rm -rf $(CACHE)/target $(CACHE)/components $(CACHE)/venv
