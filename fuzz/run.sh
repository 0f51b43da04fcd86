#!/usr/bin/env bash
# Runs fuzz targets, all of them or those named, each for $FUZZ_SECONDS. A crash ends it with its input under
# fuzz/artifacts.
#
# With a nightly toolchain ($FUZZ_TOOLCHAIN, default nightly) memory is watched too (AddressSanitizer); without one the
# default toolchain does it, as the sanitizer is all that needs a nightly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${FUZZ_SECONDS:-20}
toolchain=${FUZZ_TOOLCHAIN:-nightly}
if ! command -v cargo-fuzz >/dev/null; then
  echo "fuzz: cargo-fuzz is not on the PATH: run 'make fuzz', or 'cargo install cargo-fuzz --locked'" >&2
  exit 1
fi

if command -v rustup >/dev/null && rustup run "$toolchain" rustc --version >/dev/null 2>&1; then
  export RUSTUP_TOOLCHAIN=$toolchain
  options=(--sanitizer address)
else
  # cargo-fuzz passes flags that a stable compiler takes only with this.
  export RUSTC_BOOTSTRAP=1
  options=(--sanitizer none)
fi
echo "fuzz: $(rustc --version), ${options[*]}, $seconds s a target" >&2

targets=("$@")
if ((${#targets[@]} == 0)); then mapfile -t targets < <(cargo fuzz list); fi
cargo fuzz build "${options[@]}"
for target in "${targets[@]}"; do
  # What is found new goes to the first folder, which git ignores.
  mkdir -p "corpus/$target"
  # Both limits are far beyond what an input of this size needs.
  cargo fuzz run "${options[@]}" "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1
done
echo "fuzz: no crash in ${targets[*]}"
