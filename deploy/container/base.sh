#!/bin/sh
# Make bases for the image out of Debian's packages, where no registry of images can be reached:
#
#   deploy/container/base.sh runtime FILE.tar     Python 3.11 without a shell, 64 MB
#   deploy/container/base.sh builder FILE.tar     with pip and a shell
#   deploy/container/base.sh watchers FILE.tar    with Prometheus and Alertmanager, for `make image-test`
#   deploy/container/base.sh boot FILE.tar        with a systemd that boots, for `make boot-test`
#
# Needs root and mmdebstrap. The packages come from where this machine gets its own.
set -eu

kind=$1
file=$2
set --
for source in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
    if [ -s "$source" ]; then
        set -- "$@" "$source"
    fi
done
case $kind in
runtime)
    # Only unpacked, so no package has set itself up: the bundle of certificate authorities is put together here.
    # shellcheck disable=SC2016  # $1 is mmdebstrap's: the folder of the new system
    mmdebstrap --quiet --variant=extract \
        --include=python3-minimal,libpython3-stdlib,ca-certificates,netbase,tzdata \
        --customize-hook='cat "$1"/usr/share/ca-certificates/mozilla/*.crt >"$1"/etc/ssl/certs/ca-certificates.crt' \
        --customize-hook='echo "root:x:0:0:root:/root:/sbin/nologin" >"$1"/etc/passwd' \
        --customize-hook='echo "nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin" >>"$1"/etc/passwd' \
        bookworm "$file" "$@"
    ;;
builder)
    mmdebstrap --quiet --variant=minbase --include=python3-pip,ca-certificates bookworm "$file" "$@"
    ;;
watchers)
    mmdebstrap --quiet --variant=extract --include=prometheus,prometheus-alertmanager,ca-certificates \
        bookworm "$file" "$@"
    ;;
boot)
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,procps,python3 bookworm "$file" "$@"
    ;;
*)
    echo "usage: $0 runtime|builder|watchers|boot FILE.tar" >&2
    exit 2
    ;;
esac
