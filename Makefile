# mainstay. `make run` shows it at work, `make test` proves it with real clients.
#
#   make run                                a simulated network on loopback: mainstay dev
#   make run ARGS="engine --nodes …"        the real thing
#   make test                               every test, with real clients (installed pinned under target/tools)
#   make test TESTS="-p mainstay-e2e"       some: what cargo test takes
#   make check                              format, lints, and what may be in the tree of dependencies
#   make soak                               the long ones: a million simulated slots, hundreds of real ones
#   make bench                              measures; writes docs/benchmarks.md
#   make static                             the binaries that are released, static, for x86-64 and arm64: target/dist
#   make deb                                and the Debian packages of them
#   make book                               the documentation as a book: target/book/index.html
#   make fuzz FUZZ_SECONDS=600              every fuzz target for that long

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

ARGS ?= dev
TESTS ?=
# .ci/run sets it to --locked.
CARGO_FLAGS ?=
FUZZ_SECONDS ?= 20
FUZZ_TOOLCHAIN ?= nightly

tools := $(abspath $(or $(E2E_TOOLS),target/tools))
deny := $(tools)/cargo-deny-0.20.2/bin/cargo-deny
fuzz := $(tools)/cargo-fuzz-0.13.2/bin/cargo-fuzz

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

.PHONY: run
run:
	cargo run $(CARGO_FLAGS) --package mainstay -- $(ARGS)

.PHONY: tools
tools:
	tests/tools.sh

# All targets are built at once, so that the binary under test and the tests share every dependency.
# Scenarios with real clients take turns by themselves; nothing else depends on the number of threads.
.PHONY: test
test: tools
	cargo build $(CARGO_FLAGS) --workspace --all-targets
	cargo test $(CARGO_FLAGS) $(or $(TESTS),--workspace)
	@echo "make test: all passed"

.PHONY: soak
soak:
	tests/tools.sh nodeos
	MAINSTAY_SIM_SLOTS=1000000 MAINSTAY_SIM_SEED=1 cargo test $(CARGO_FLAGS) --release --package mainstay-sync --test simulation random_faults -- --nocapture
	cargo test $(CARGO_FLAGS) --package mainstay-e2e --test relay -- --ignored --nocapture

.PHONY: check
check: fmt clippy deny

.PHONY: fmt
fmt:
	cargo fmt --all --check

.PHONY: clippy
clippy:
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

.PHONY: deny
deny:
	tests/tools.sh deny
	$(deny) --all-features check bans licenses sources

# Both machines' binaries take some minutes. STATIC=amd64 builds one.
STATIC ?= amd64 arm64

.PHONY: static
static:
	deploy/static/build.sh target/dist $(STATIC)
	cargo test $(CARGO_FLAGS) --package mainstay-packaging --test static_binaries -- --ignored --nocapture

.PHONY: deb
deb: static
	for machine in $(STATIC); do MAINSTAY=$${MAINSTAY:-target/dist/$(firstword $(STATIC))/mainstay} deploy/deb/build.sh target/dist/$$machine/mainstay $$machine target/dist; done

.PHONY: book
book:
	tests/tools.sh packaging
	$(tools)/mdbook-0.5.4/bin/mdbook build docs

.PHONY: bench
bench:
	tests/tools.sh bench
	bench/run.sh

.PHONY: fuzz
fuzz:
	tests/tools.sh fuzz
	PATH="$(dir $(fuzz)):$$PATH" FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_TOOLCHAIN=$(FUZZ_TOOLCHAIN) fuzz/run.sh
