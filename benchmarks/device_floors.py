"""The least time that a device needs: bytes over its bandwidth or operations over its peak.

Ops run one after another, so the floor of a step is the sum of theirs. Bandwidth and peak are
those that the same device showed in the same run; units are bytes, seconds and floating-point
operations, and results are seconds.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int

    @property
    def qkv(self):
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    def matrices(self):
        """(outputs, inputs) of a layer's matrices and of the head."""
        return {"qkv": (self.qkv, self.hidden),
                "output": (self.hidden, self.heads * self.head_dim),
                "gate_up": (2 * self.ffn, self.hidden), "down": (self.hidden, self.ffn),
                "head": (self.vocab, self.hidden)}

    def linear_parameters(self):
        return self.layers * sum(outputs * inputs for name, (outputs, inputs) in
                                 self.matrices().items() if name != "head")

    def kv_bytes_per_token(self):
        """Of one layer, keys and values in bf16."""
        return 2 * self.kv_heads * self.head_dim * 2


SHAPES = {"llama3-8b": Shape(32, 4096, 32, 8, 128, 14336, 128256),
          "tiny": Shape(2, 128, 4, 2, 32, 352, 512)}
# Of 4 bits a scale in 16 bits belongs to each 128: what the arithmetic counts, not our own layout.
WEIGHT_BYTES = {"bf16": 2, "int8": 1, "fp8": 1, "int4": 4.125 / 8}


@dataclasses.dataclass(frozen=True)
class Device:
    bandwidth: float  # bytes a second, copied
    peak: float  # operations a second of the format
    attention_peak: float  # of attention over many rows, bf16


def product(device, outputs, inputs, rows, weight_bytes):
    return max(outputs * inputs * weight_bytes / device.bandwidth,
               2 * rows * outputs * inputs / device.peak)


def decode(shape, device, weights, batch, context):
    """A step of `batch` sequences of `context` tokens each; the head is bf16."""
    head = shape.vocab * shape.hidden
    linear = shape.linear_parameters()
    weight_seconds = (linear * WEIGHT_BYTES[weights] + 2 * head) / device.bandwidth
    math_seconds = 2 * (linear + head) * batch / device.peak
    kv_bytes = shape.layers * shape.kv_bytes_per_token() * batch * context
    return max(weight_seconds, math_seconds) + kv_bytes / device.bandwidth


def prefill(shape, device, tokens):
    """One sequence from its first token on; causal attention computes half of the square."""
    attention = 2 * tokens**2 * shape.heads * shape.head_dim * shape.layers
    return 2 * shape.linear_parameters() * tokens / device.peak + attention / device.attention_peak


def op(shape, device, name, weights, rows, context):
    """One op of a decode step, with activations in f32; None for an unknown one."""
    matrices = shape.matrices()
    if name in matrices:
        return product(device, *matrices[name], rows,
                       WEIGHT_BYTES["bf16" if name == "head" else weights])
    per_row = {"attention": shape.kv_bytes_per_token() * context,
               "norm": 16 * shape.hidden,  # both terms and the sum, and the result
               "silu": 12 * shape.ffn,
               "rope_kv": 8 * shape.qkv + shape.kv_bytes_per_token()}
    return rows * per_row[name] / device.bandwidth if name in per_row else None
