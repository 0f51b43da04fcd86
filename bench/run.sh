#!/usr/bin/env bash
# Builds mainstay and the harness in release and writes docs/benchmarks.md. Arguments go to the harness (--help).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC2086 # flags, in words
cargo build ${CARGO_FLAGS:-} --release --package mainstay --package mainstay-bench
exec "${CARGO_TARGET_DIR:-target}/release/mainstay-bench" "$@"
