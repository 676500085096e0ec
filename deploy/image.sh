#!/bin/sh
# Builds the image without a container engine or a registry: the base by mmdebstrap, the image by buildah, which works in
# a chroot. As root on Debian, with the packages buildah and mmdebstrap:
#   STORAGE=/var/lib/koshelek-image sh deploy/image.sh [options for buildah bud, such as --volume of pip's settings]
# SUITE names the release of Debian; SOURCES a file with package sources, where the usual ones will not do.
set -eu
cd "$(dirname "$0")/.."
: "${STORAGE:?name a folder for the images}" "${SUITE:=bookworm}"
mkdir -p "$STORAGE"
in_storage() {
    buildah --root "$STORAGE/images" --runroot "$STORAGE/run" --storage-driver vfs "$@"
}
if ! in_storage inspect --type image koshelek-base > /dev/null 2>&1; then
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$SUITE" "$STORAGE/base.tar" ${SOURCES:+"$SOURCES"}
    container=$(in_storage from scratch)
    in_storage add --quiet "$container" "$STORAGE/base.tar" /
    in_storage commit --quiet "$container" koshelek-base
    in_storage rm "$container" > /dev/null
    rm "$STORAGE/base.tar"
fi
in_storage bud --isolation chroot --network host --format docker --file deploy/Containerfile --tag koshelek-adapter \
    --build-arg BASE=localhost/koshelek-base --build-arg COMMIT="$(git describe --always --dirty 2> /dev/null || true)" \
    "$@" .
