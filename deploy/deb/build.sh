#!/usr/bin/env bash
# Packs a binary for Debian and its kin with cargo-deb, by [package.metadata.deb] of crates/mainstay/Cargo.toml:
# deploy/deb/build.sh BINARY ARCHITECTURE FOLDER [OPTION…] writes FOLDER/mainstay_VERSION_ARCHITECTURE.deb. ARCHITECTURE is Debian's word
# for it, amd64 or arm64; OPTIONs are cargo-deb's. MAINSTAY is a binary of the same sources that runs here, to be asked for completions and
# manual pages, if BINARY doesn't. With SOURCE_DATE_EPOCH set the same binary makes the same package, byte for byte.
set -euo pipefail

cargo_deb_version=3.8.0

binary=$(realpath "${1:?the binary}") asked=$(realpath "${MAINSTAY:-$1}") architecture=${2:?amd64 or arm64} to=$(realpath -m "${3:?the folder for the package}")
shift 3
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

case $architecture in
  amd64) target=x86_64-unknown-linux-musl ;;
  arm64) target=aarch64-unknown-linux-musl ;;
  *)
    echo "deb: unknown architecture '$architecture': amd64 or arm64" >&2
    exit 1
    ;;
esac

tests/tools.sh deb
cargo_deb=$(realpath "${E2E_TOOLS:-target/tools}")/cargo-deb-$cargo_deb_version/bin/cargo-deb

# A target directory as cargo would leave it, and what comes of asking the binary.
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
files=$built/$target/release
mkdir -p "$files/completions"
ln -s "$binary" "$files/mainstay"
"$asked" man "$files/man"
find "$files/man" -type f -exec gzip -9n {} +
"$asked" completions bash >"$files/completions/mainstay"
"$asked" completions zsh >"$files/completions/_mainstay"
"$asked" completions fish >"$files/completions/mainstay.fish"

mkdir -p "$to"
CARGO_TARGET_DIR=$built "$cargo_deb" --quiet --locked --package mainstay --no-build --no-strip --no-dbgsym --target "$target" --output "$to" "$@"
