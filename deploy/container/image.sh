#!/bin/sh
# Build the image with buildah: `make image`. BASE and BUILDER name other bases; without them, or where they
# cannot be fetched, both are made from Debian's packages (base.sh). TAG is what it is called.
set -eu

cd "$(dirname "$0")/../.."
tag=${TAG:-localhost/wattbridge:dev}
made=build/container
# Isolation without namespaces of its own: this works in a container or a small virtual machine too.
export BUILDAH_ISOLATION=chroot
export CONTAINERS_CONF="$PWD/deploy/container/containers.conf"

base() { # base KIND NAME: what is imported once is there the next time
    if ! buildah inspect --type image "$2" >/dev/null 2>&1; then
        mkdir -p "$made"
        [ -s "$made/$1.tar" ] || deploy/container/base.sh "$1" "$made/$1.tar"
        podman import --quiet "$made/$1.tar" "$2" >/dev/null
    fi
    echo "$2"
}

builder=${BUILDER:-$(base builder localhost/wattbridge-builder:bookworm)}
runtime=${BASE:-$(base runtime localhost/wattbridge-base:bookworm)}
set --
# Whom this machine trusts is trusted while building, too: there may be a proxy.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    set -- "$@" --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro
fi
if [ -s /etc/pip.conf ]; then
    set -- "$@" --volume /etc/pip.conf:/etc/pip.conf:ro
fi
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse --verify -q HEAD 2>/dev/null || echo unknown)
# `docker` is the format that knows HEALTHCHECK.
buildah build --quiet --format docker --layers --network host "$@" \
    --build-arg "BUILDER=$builder" --build-arg "BASE=$runtime" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    -f deploy/Containerfile -t "$tag" .
echo "$tag"
