#!/usr/bin/env python3
"""Tokens per second of TP x PP on H100s, computed from published speeds. Nothing here is measured on
such a machine; the table belongs into docs/scaling.md together with what is assumed.

    benchmarks/scaling_model.py             # the table, as Markdown
    benchmarks/scaling_model.py --check     # exits 1 unless docs/scaling.md holds this table
"""

import argparse
import dataclasses
import pathlib
import sys

SCALING_DOC = pathlib.Path(__file__).resolve().parents[1] / "docs" / "scaling.md"


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int

    @property
    def head_dim(self):
        return self.hidden // self.heads

    def layer_parameters(self):
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.ffn

    def kv_bytes_per_token(self):  # of one layer, in BF16
        return 2 * self.kv_heads * self.head_dim * 2


@dataclasses.dataclass(frozen=True)
class Device:
    """H100 SXM, from its data sheet; the shares are what good kernels reach of it."""
    memory_bytes: float = 80e9
    memory_rate: float = 3.35e12   # bytes/s
    memory_share: float = 0.80
    flops: float = 989e12          # BF16, dense
    flops_share: float = 0.60
    kernel_s: float = 3e-6         # between kernels of a captured graph, per kernel
    kernels_per_layer: int = 9


@dataclasses.dataclass(frozen=True)
class Link:
    rate: float     # bytes/s, one way, per device
    share: float
    latency_s: float


NVLINK = Link(450e9, 0.75, 8e-6)     # an all-reduce within eight devices
NETWORK = Link(50e9, 0.85, 15e-6)    # 400 Gbit/s per device, between hosts
HOST_S = 100e-6                      # plan out, result in, next plan: what is not hidden behind a step

LLAMA_8B = Model("8B", 32, 4096, 14336, 32, 8, 128256)
LLAMA_70B = Model("70B", 80, 8192, 28672, 64, 8, 128256)


def all_reduce_s(link, ranks, size):
    """A ring or better: every byte leaves and enters each rank 2 (n - 1) / n times."""
    if ranks == 1:
        return 0.0
    return link.latency_s + 2 * (ranks - 1) / ranks * size / (link.rate * link.share)


def stage_s(model, device, tp, pp, batch, context, hosts):
    """One stage's time for `batch` sequences that decode one token each."""
    layers = model.layers / pp
    # BF16 weights; the head is read by the last stage, which is the slowest.
    parameters = layers * model.layer_parameters() + model.vocab * model.hidden
    read = (2 * parameters + batch * context * layers * model.kv_bytes_per_token()) / tp
    compute = 2 * parameters * batch / tp
    busy = max(read / (device.memory_rate * device.memory_share),
               compute / (device.flops * device.flops_share))
    busy += layers * device.kernels_per_layer * device.kernel_s
    message = batch * model.hidden * 2
    link = NVLINK if hosts == 1 or tp <= 8 else NETWORK
    busy += 2 * layers * all_reduce_s(link, tp, message)
    if pp > 1:
        hop = NETWORK if hosts > 1 else NVLINK
        busy += hop.latency_s + message / tp / (hop.rate * hop.share)
    return busy


def fits(model, device, tp, pp, batch, context):
    parameters = model.layers * model.layer_parameters() + 2 * model.vocab * model.hidden
    cache = batch * context * model.layers * model.kv_bytes_per_token()
    return 2 * parameters + cache <= 0.9 * device.memory_bytes * tp * pp


def rows():
    device = Device()
    shapes = [(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 1, 1), (4, 2, 1), (8, 2, 2), (16, 1, 2), (4, 4, 2)]
    for model in (LLAMA_8B, LLAMA_70B):
        for tp, pp, hosts in shapes:
            cells = []
            for batch in (1, 32, 256):
                context = 2048
                # As many groups in flight as there are stages; each has its share of the sequences.
                group = max(1, batch // pp)
                if not fits(model, device, tp, pp, batch, context):
                    cells.append("-")
                    continue
                stage = stage_s(model, device, tp, pp, group, context, hosts)
                step = pp * stage + HOST_S      # what one sequence waits for its next token
                in_flight = min(batch, pp * group)
                cells.append(f"{in_flight / step:,.0f} ({1 / step:,.0f})")
            where = f"{hosts} x {tp * pp // hosts}"
            yield f"| {model.name} | {where} | {tp} | {pp} | " + " | ".join(cells) + " |"


def table():
    head = ["| model | hosts x H100 | TP | PP | batch 1 | batch 32 | batch 256 |",
            "|---|---|---|---|---|---|---|"]
    return "\n".join(head + list(rows()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        print(table())
        return 0
    if table() in SCALING_DOC.read_text(encoding="utf-8"):
        return 0
    print("docs/scaling.md does not hold this table:\n" + table(), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
