#!/usr/bin/env bash
# The device benchmarks: copies, products, decode and prefill of Llama-3-8B's shape with
# random weights made on the spot, and the kernels of the conformance cases. From the folder
# that `./dev device` packs.
#
#   device.sh RESULTS [BACKEND] [SHAPE]     writes RESULTS/device_*.jsonl
set -euo pipefail
RESULTS="${1:?a folder for results}"
BACKEND="${2:-cuda}"
SHAPE="${3:-llama3-8b}"
BIN="$(dirname "${BASH_SOURCE[0]}")/../bin"
mkdir -p "$RESULTS"
for format in bf16 int8 int4; do
  "$BIN/device_bench" --backend "$BACKEND" --shape "$SHAPE" --format "$format" |
    tee "$RESULTS/device_$format.jsonl"
done
# The same products by PyTorch, where it is installed.
if command -v python3 >/dev/null && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  python3 - <<'PYTHON' | tee "$RESULTS/device_torch.jsonl"
import json
import statistics
import time

import torch

for rows in (1, 16, 64, 512, 2048):
    x = torch.randn(rows, 4096, device="cuda", dtype=torch.bfloat16)
    w = [torch.randn(28672, 4096, device="cuda", dtype=torch.bfloat16) / 64 for _ in range(4)]
    times = []
    for i in range(60):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.nn.functional.linear(x, w[i % 4])
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[10:])
    print(json.dumps({"what": "product", "peer": "torch " + torch.__version__, "format": "bf16",
                      "rows": rows, "us": round(seconds * 1e6, 2),
                      "tflops": round(2 * rows * 4096 * 28672 / seconds / 1e12, 2)}))
PYTHON
fi
