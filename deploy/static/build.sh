#!/usr/bin/env bash
# Builds mainstay as it is released, static: deploy/static/build.sh [FOLDER [amd64|arm64]…] writes FOLDER/amd64/mainstay and
# FOLDER/arm64/mainstay; `make static` has target/dist for it. The same commit makes the same bytes, wherever it is checked out and whoever
# builds it: Rust, the C compiler (of ring and mimalloc) and the libc are pinned, and no path of the machine gets into the binary.
# It wants rustup, Python's pip and git; nothing is installed but Rust's toolchain, beside others, and the C compiler, in target/tools.
set -euo pipefail

rust_version=1.95.0
zig_version=0.17.1

to=$(realpath -m "${1:-target/dist}")
shift || true
if (($# == 0)); then set -- amd64 arm64; fi
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source=$PWD

fail() {
  printf 'static: %s\n' "$*" >&2
  exit 1
}

declare -A targets=([amd64]=x86_64-unknown-linux-musl [arm64]=aarch64-unknown-linux-musl)
for architecture; do
  [[ -v targets[$architecture] ]] || fail "unknown architecture '$architecture': amd64 or arm64"
done

command -v rustup >/dev/null || fail "rustup is not installed: it brings the standard library for each target"
for architecture; do
  target=${targets[$architecture]}
  # Nothing is asked of the network if it is there.
  if ! rustup target list --installed --toolchain "$rust_version" 2>/dev/null | grep -x "$target" >/dev/null; then
    rustup toolchain install "$rust_version" --profile minimal --no-self-update --target "$target"
  fi
done

tests/tools.sh zig
tools=$(realpath "${E2E_TOOLS:-target/tools}")
export ZIG=$tools/zig-$zig_version/ziglang/zig
cc=$source/deploy/static/cc
# What a compiler would take from the caller's environment, but for its cache.
unset CFLAGS RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
export ZIG_GLOBAL_CACHE_DIR=$tools/zig-$zig_version/cache ZIG_LOCAL_CACHE_DIR=$tools/zig-$zig_version/cache
export CC_x86_64_unknown_linux_musl=$cc CC_aarch64_unknown_linux_musl=$cc
export AR_x86_64_unknown_linux_musl=$source/deploy/static/ar AR_aarch64_unknown_linux_musl=$source/deploy/static/ar
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target} CARGO_INCREMENTAL=0
CARGO_TARGET_DIR=$(realpath -m "$CARGO_TARGET_DIR")

# mimalloc tells when it was built.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} || fail "without git SOURCE_DATE_EPOCH has to be set"
export SOURCE_DATE_EPOCH
crates=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$crates=/cargo --remap-path-prefix=$source=/mainstay --remap-path-prefix=$CARGO_TARGET_DIR=/target"
CFLAGS="-ffile-prefix-map=$crates=/cargo -ffile-prefix-map=$source=/mainstay -ffile-prefix-map=$CARGO_TARGET_DIR=/target"

for architecture; do
  target=${targets[$architecture]}
  RUSTFLAGS=$RUSTFLAGS CFLAGS=$CFLAGS cargo "+$rust_version" build --locked --release --package mainstay --target "$target"
  binary=$to/$architecture/mainstay
  install -D -m 755 "$CARGO_TARGET_DIR/$target/release/mainstay" "$binary"
  # Nothing of the machine that it runs on is loaded with it.
  if readelf --program-headers --dynamic "$binary" | grep -E 'INTERP|NEEDED'; then fail "$binary is not static"; fi
done
(cd "$to" && sha256sum "${@/%//mainstay}")
