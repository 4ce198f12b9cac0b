#!/usr/bin/env bash
# Builds cpu.Dockerfile where there is no Docker: buildah with chroot isolation, on a
# base like debian:12-slim that make_base.sh makes. Debian 12, as root. Nothing is
# compiled again: PACKAGE is what `./dev package` made.
#
#   build_image.sh WORK_DIR PACKAGE.deb [ARCHIVE.tar]
#
# The image is localhost/inferd:cpu in the storage WORK_DIR/storage; ARCHIVE is what
# `docker load` and `podman load` read. WORK_DIR/base.tar is kept for the next time.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
WORK="$(mkdir -p "$1" && cd "$1" && pwd)"
PACKAGE="$(realpath "$2")"
BASE="$WORK/base.tar"

B=(buildah --storage-driver vfs --root "$WORK/storage" --runroot "$WORK/run")
export BUILDAH_ISOLATION=chroot
# Whatever the machine has configured about registries does not matter here.
printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$WORK/policy.json"

[[ -f "$BASE" ]] || "$ROOT/deploy/docker/make_base.sh" "$BASE"
if ! "${B[@]}" inspect --type image localhost/inferd-base:12 >/dev/null 2>&1; then
  container="$("${B[@]}" from scratch)"
  "${B[@]}" add --quiet "$container" "$BASE" /
  "${B[@]}" commit --quiet --signature-policy "$WORK/policy.json" "$container" localhost/inferd-base:12
  "${B[@]}" rm "$container" >/dev/null
fi

# The package lies where the ignore file lets it through.
context="$WORK/context"
rm -rf "$context"
mkdir -p "$context/build/package"
cp -r "$ROOT"/{configs,deploy} "$context/"
cp "$PACKAGE" "$context/build/package/inferd_prebuilt.deb"
revision="$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)"
"${B[@]}" build --signature-policy "$WORK/policy.json" --format docker --layers=false --pull-never \
  --file "$context/deploy/docker/cpu.Dockerfile" \
  --build-arg BASE=localhost/inferd-base:12 --build-arg PREBUILT=build/package/inferd_prebuilt.deb \
  --build-arg REVISION="$revision" --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  --tag localhost/inferd:cpu "$context"
rm -rf "$context"
if [[ -n "${3:-}" ]]; then
  rm -f "$3"
  "${B[@]}" push --quiet --signature-policy "$WORK/policy.json" localhost/inferd:cpu \
    "docker-archive:$3:inferd:cpu"
fi
