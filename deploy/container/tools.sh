#!/bin/sh
# Install what `make image` and `make boot-test` need, where we are root and have apt.
set -eu

wanted="buildah podman runc netavark aardvark-dns iptables mmdebstrap systemd-container"
missing=""
for package in $wanted; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" = "install ok installed" ] ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "wattbridge: missing:$missing; they are packages of Debian" >&2
    exit 1
fi
echo "wattbridge: installing$missing (once)" >&2
apt-get -qq update
# shellcheck disable=SC2086  # a list of words
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
