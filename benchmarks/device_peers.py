#!/usr/bin/env python3
"""The ops of device_bench by PyTorch (cuBLASLt, FlashAttention, cuDNN), one line of JSON each.

usage: device_peers.py [--shape llama3-8b|tiny] [--device cuda|cpu] [--seconds S]

Without PyTorch, or without a GPU for it, it says so and ends well. On a GPU several runs are one
CUDA graph, over operands that together are larger than the caches. `--device cpu` is for trying the
program itself: its times say nothing.
"""

import argparse
import json
import statistics
import sys
import time

import device_floors as floors

ROWS = {"llama3-8b": (1, 8, 32, 64, 65, 128, 256, 512, 2048), "tiny": (1, 16)}
CONTEXTS = {"llama3-8b": (512, 2048, 8192), "tiny": (64,)}
BATCHES = {"llama3-8b": (1, 8, 32, 64), "tiny": (1, 8)}
PEAK = {"llama3-8b": 8192, "tiny": 128}
OPERAND_BYTES = 256 << 20  # of a rotation; caches are a fifth of it
CACHE_BYTES = 16 << 30


class Timer:
    """Microseconds a call of functions that are called in turn."""

    def __init__(self, torch, device, seconds):
        self.torch, self.device, self.seconds = torch, device, seconds

    def __call__(self, calls):
        if self.device == "cpu":
            def run():
                start = time.perf_counter()
                for call in calls:
                    call()
                return (time.perf_counter() - start) * 1e6
        else:
            run = self.graph(calls)
        run()
        rounds, start = [], time.perf_counter()
        while len(rounds) < 5 or time.perf_counter() - start < self.seconds:
            rounds.append(run() / len(calls))
        return statistics.median(rounds)

    def graph(self, calls):
        cuda = self.torch.cuda
        side = cuda.Stream()
        with cuda.stream(side):
            for call in calls:
                call()
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            for call in calls:
                call()
        begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)

        def run():
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) * 1e3
        return run


def line(**fields):
    print(json.dumps(fields), flush=True)


def products(torch, timer, shape, name, device):
    dtype = torch.bfloat16
    for matrix, (outputs, inputs) in shape.matrices().items():
        copies = max(2, min(8, OPERAND_BYTES // (2 * outputs * inputs) + 1))
        weights = [torch.randn(outputs, inputs, device=device, dtype=dtype) / 64
                   for _ in range(copies)]
        for rows in ROWS[name]:
            x = torch.randn(rows, inputs, device=device, dtype=dtype)
            us = timer([lambda w=w: torch.nn.functional.linear(x, w) for w in weights])
            line(what="peer", library="torch linear", op=matrix, format="bf16", rows=rows,
                 context=1, us=round(us, 2))
        if device == "cpu" or matrix == "head" or torch.cuda.get_device_capability() < (8, 9):
            continue
        one = torch.ones((), device=device)
        eights = [w.to(torch.float8_e4m3fn) for w in weights]
        for rows in ROWS[name]:
            if rows % 16 != 0:
                continue
            x = torch.randn(rows, inputs, device=device, dtype=dtype).to(torch.float8_e4m3fn)
            us = timer([lambda w=w: torch._scaled_mm(x, w.t(), one, one, out_dtype=dtype)
                        for w in eights])
            line(what="peer", library="torch _scaled_mm", op=matrix, format="fp8", rows=rows,
                 context=1, us=round(us, 2))


def attention(torch, timer, shape, name, device):
    """One row of each sequence over its keys, as scaled_dot_product_attention has it: the keys lie
    together, not in blocks."""
    sdpa = torch.nn.functional.scaled_dot_product_attention
    for rows in BATCHES[name]:
        for context in CONTEXTS[name]:
            one = rows * context * shape.kv_bytes_per_token()
            copies = max(1, min(8, OPERAND_BYTES // one + 1))
            if copies * one > CACHE_BYTES:
                continue
            q = torch.randn(rows, shape.heads, 1, shape.head_dim, device=device,
                            dtype=torch.bfloat16)
            caches = [[torch.randn(rows, shape.kv_heads, context, shape.head_dim, device=device,
                                   dtype=torch.bfloat16) for _ in range(2)] for _ in range(copies)]
            us = timer([lambda k=k, v=v: sdpa(q, k, v, enable_gqa=True) for k, v in caches])
            line(what="peer", library="torch SDPA", op="attention", format="bf16", rows=rows,
                 context=context, us=round(us, 2))


def peak_and_copy(torch, timer, name, device):
    n = PEAK[name]
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    us = timer([lambda: a @ b] * 2)
    line(what="peak", library="torch", format="bf16", n=n, tflops=round(2 * n**3 / us * 1e-6, 3))
    floats = (1 << 28) if name != "tiny" else 1 << 20
    source = torch.randn(floats, device=device)
    target = torch.empty_like(source)
    us = timer([lambda: target.copy_(source)] * 2)
    line(what="copy", library="torch", megabytes=floats >> 18,
         tb_per_s=round(8 * floats / us * 1e-6, 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=sorted(floors.SHAPES), default="llama3-8b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=0.2, help="of measuring a case")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("device_peers: PyTorch is not installed", file=sys.stderr)
        return 0
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("device_peers: PyTorch sees no GPU", file=sys.stderr)
        return 0
    line(what="peers", library=f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    shape = floors.SHAPES[arguments.shape]
    timer = Timer(torch, arguments.device, arguments.seconds)
    with torch.no_grad():
        peak_and_copy(torch, timer, arguments.shape, arguments.device)
        products(torch, timer, shape, arguments.shape, arguments.device)
        attention(torch, timer, shape, arguments.shape, arguments.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
