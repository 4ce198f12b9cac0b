#!/usr/bin/env bash
# Builds an image where there is no Docker: buildah with chroot isolation, on a base like
# debian:12-slim that make_base.sh makes. Debian 12, as root. Nothing is compiled again:
# PACKAGE is what `./dev package` made, LIBRARY the libinferd_cuda.so built beside it.
#
#   build_image.sh WORK_DIR PACKAGE.deb [ARCHIVE.tar]                  cpu.Dockerfile
#   build_image.sh --cuda LIBRARY WORK_DIR PACKAGE.deb [ARCHIVE.tar]   cuda.Dockerfile
#
# The image is localhost/inferd:cpu or :cuda in the storage WORK_DIR/storage; ARCHIVE is
# what `docker load` and `podman load` read. WORK_DIR/base.tar is kept for the next time.
# CUDA's library comes from the toolkit in /usr/local/cuda, instead of out of NVIDIA's image.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
VARIANT=cpu
if [[ "$1" == --cuda ]]; then
  VARIANT=cuda
  LIBRARY="$(realpath "$2")"
  shift 2
fi
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
arguments=(--build-arg PREBUILT=build/package/inferd_prebuilt.deb)
if [[ "$VARIANT" == cuda ]]; then
  strip -o "$context/build/package/libinferd_cuda.so" "$LIBRARY"
  arguments+=(--build-arg PREBUILT_CUDA=build/package/libinferd_cuda.so
    --build-context cuda=/ --build-arg CUDA=scratch) # mounts this machine's /usr/local/cuda
fi
revision="$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)"
"${B[@]}" build --signature-policy "$WORK/policy.json" --format docker --layers=false --pull-never \
  --file "$context/deploy/docker/$VARIANT.Dockerfile" \
  --build-arg BASE=localhost/inferd-base:12 "${arguments[@]}" \
  --build-arg REVISION="$revision" --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  --tag "localhost/inferd:$VARIANT" "$context"
rm -rf "$context"
if [[ -n "${3:-}" ]]; then
  rm -f "$3"
  "${B[@]}" push --quiet --signature-policy "$WORK/policy.json" "localhost/inferd:$VARIANT" \
    "docker-archive:$3:inferd:$VARIANT"
fi
