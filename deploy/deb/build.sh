#!/usr/bin/env bash
# Packs a binary for Debian and its kin: deploy/deb/build.sh BINARY ARCHITECTURE FOLDER writes FOLDER/mainstay_VERSION_ARCHITECTURE.deb.
# MAINSTAY is a binary of the same sources that runs here, to be asked for completions and manual pages, if BINARY doesn't.
# ARCHITECTURE is Debian's word for it: amd64, arm64. With SOURCE_DATE_EPOCH set the same binary makes the same package, byte for byte.
set -euo pipefail

binary=$(realpath "${1:?the binary}") asked=$(realpath "${MAINSTAY:-$1}") architecture=${2:?amd64 or arm64} to=$(realpath "${3:?the folder for the package}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$binary" "$root/usr/bin/mainstay"
install -D -m 644 -t "$root/usr/lib/systemd/system" deploy/systemd/mainstay.service deploy/systemd/mainstay.socket
install -D -m 644 deploy/deb/mainstay.toml "$root/etc/mainstay/mainstay.toml"
install -D -m 644 docs/config.schema.json "$root/usr/share/mainstay/config.schema.json"
install -D -m 644 -t "$root/usr/share/doc/mainstay" README.md CHANGELOG.md deploy/deb/copyright

install -d -m 755 "$root"/usr/share/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$asked" man "$root/usr/share/man/man1"
find "$root/usr/share/man" -type f -exec chmod 644 {} + -exec gzip -9n {} +
"$asked" completions bash >"$root/usr/share/bash-completion/completions/mainstay"
"$asked" completions zsh >"$root/usr/share/zsh/vendor-completions/_mainstay"
"$asked" completions fish >"$root/usr/share/fish/vendor_completions.d/mainstay.fish"
chmod 644 "$root"/usr/share/{bash-completion/completions/*,zsh/vendor-completions/*,fish/vendor_completions.d/*}

install -d -m 755 "$root/DEBIAN"
install -m 755 -t "$root/DEBIAN" deploy/deb/postinst deploy/deb/prerm deploy/deb/postrm
echo /etc/mainstay/mainstay.toml >"$root/DEBIAN/conffiles"
# A static binary depends on nothing; one that isn't, on the libraries of the system that it was built for.
depends=
if readelf --program-headers "$binary" | grep INTERP >/dev/null; then
  depends="Depends: libc6 (>= 2.34), libgcc-s1"
fi
{
  cat <<END
Package: mainstay
Version: $version
Architecture: $architecture
Maintainer: the mainstay authors <mainstay@users.noreply.github.com>
Section: net
Priority: optional
Homepage: https://github.com/mainstay-rs/mainstay
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
END
  if [[ -n $depends ]]; then echo "$depends"; fi
  cat <<'END'
Description: keeps blockchain nodes dependable for whoever depends on them
 Stands between nodes that crash, stall, lag and lie, and a validator, a
 builder, a client or a producer network that depends on them.
END
} >"$root/DEBIAN/control"

mkdir -p "$to"
# What every Debian and Ubuntu can read, unless told otherwise.
export DPKG_DEB_COMPRESSOR_TYPE=${DPKG_DEB_COMPRESSOR_TYPE:-xz}
dpkg-deb --root-owner-group --build "$root" "$to/mainstay_${version}_$architecture.deb"
