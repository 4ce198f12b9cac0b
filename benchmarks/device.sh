#!/usr/bin/env bash
# The device benchmarks: copies, the peak of products, every op, decode and prefill of
# Llama-3-8B's shape with random weights made on the spot, sampling, PyTorch's ops beside them
# where it is installed, and a record that sets them against the floors. `run.sh --benchmarks` of
# the folder that `./dev device` packs calls it; on an H100 it takes some 7 minutes (estimated).
#
#   device.sh RESULTS [--backend NAME] [--shape NAME] [--formats LIST] [--seconds S]
#
# Writes RESULTS/device_*.jsonl and RESULTS/DATE-DEVICE.md. DEVICE_BIN: where device_bench is.
set -euo pipefail
HERE="$(dirname "${BASH_SOURCE[0]}")"
BIN="${DEVICE_BIN:-$HERE/../bin}"
RESULTS="${1:?a folder for results}"
shift
BACKEND=cuda SHAPE=llama3-8b FORMATS=bf16,int4,fp8,int8 SECONDS_EACH=0.5
while (($# > 0)); do
  (($# > 1)) || { echo "device.sh: $1 without a value" >&2; exit 2; }
  case "$1" in
    --backend) BACKEND="$2" ;;
    --shape) SHAPE="$2" ;;
    --formats) FORMATS="$2" ;;
    --seconds) SECONDS_EACH="$2" ;;
    *) echo "device.sh: unknown flag $1" >&2; exit 2 ;;
  esac
  shift 2
done
mkdir -p "$RESULTS/tuning"
# What Python loads is its own: see run.sh.
python() {
  LD_LIBRARY_PATH="${DEVICE_PEERS_LIBRARY_PATH-${LD_LIBRARY_PATH:-}}" python3 -B "$@"
}
PEERS=cuda
[[ "$BACKEND" == cuda ]] || PEERS=cpu
failed=0
for format in ${FORMATS//,/ }; do
  parts=(--parts "copy,peak,decode,prefill,product")
  # What does not depend on the format of weights is measured once.
  [[ "$format" != bf16 ]] || parts=()
  # A format that fails leaves the others their turn, and its lines up to there.
  "$BIN/device_bench" --backend "$BACKEND" --shape "$SHAPE" --format "$format" \
    --seconds "$SECONDS_EACH" --tuning "$RESULTS/tuning" "${parts[@]}" |
    tee "$RESULTS/device_$format.jsonl" || failed=1
  # Early, and again when there is more: a run that is cut short has a record, too.
  [[ "$format" != bf16 ]] ||
    python "$HERE/device_peers.py" --shape "$SHAPE" --device "$PEERS" |
    tee "$RESULTS/device_peers.jsonl" || failed=1
  python "$HERE/device_record.py" "$RESULTS" "$RESULTS" || failed=1
done
exit "$failed"
