#!/bin/sh
# deps.sh PACKAGE…: installs those Debian packages that are missing, and nothing else. `a|b` means that either will do.
set -eu

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps: not a Debian system; needed, under whatever name they have here: $*"
  exit 0
fi

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for wanted in "$@"; do
  found=
  for name in $(echo "$wanted" | tr '|' ' '); do
    if installed "$name"; then found=yes; fi
  done
  [ -n "$found" ] || missing="$missing ${wanted%%|*}"
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "deps: this takes root, and there is no sudo: apt-get install$missing" >&2
    exit 1
  fi
  as_root=sudo
fi

apt() {
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
# A stale list of packages may still do; the installation says so if it does not.
apt update || echo "deps: apt-get update failed, trying with the lists at hand" >&2
# shellcheck disable=SC2086
apt install --no-remove --no-install-recommends $missing
