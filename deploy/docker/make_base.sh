#!/usr/bin/env bash
# A Debian 12 like the image debian:12-slim, from this machine's own mirror, as a tar
# archive. Debian with debootstrap, as root.
#
#   make_base.sh BASE.tar
set -euo pipefail

base="$(realpath -m "$1")"
root="$base.root"
rm -rf "$root"
trap 'rm -rf "$root"' EXIT
mkdir -p "$(dirname "$base")"
# The mirror that this machine itself installs from.
mirror="$(apt-get indextargets --format "\$(REPO_URI) \$(RELEASE)" 'Created-By: Packages' |
  awk '$2 == "bookworm" {print $1; exit}')"
debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"}
# As the slim images do: no documentation but the licences, no translations.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
SLIM
rm -rf "$root"/usr/share/{man,info,locale}/* "$root"/var/cache/apt/* \
  "$root"/var/lib/apt/lists/* "$root"/var/log/apt "$root"/var/log/*.log
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
tar -C "$root" -cf "$base.new" .
mv "$base.new" "$base"
