#!/bin/sh
# Install Debian packages that are missing: as root by itself, else by saying how.
set -eu
missing=""
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "these packages, or what they are called on this system, are needed:$missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "packages are missing; run: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
