"""The model shapes that are compared, and what one decode step reads of them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    """A llama by its sizes. Rotary scaling is left out: it costs nothing while running."""
    name: str
    vocab: int
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    rope_theta: float = 10000.0
    context: int = 2048

    @property
    def head_dim(self):
        return self.hidden // self.heads

    def linears(self):
        """(HF name, GGUF name, outputs, inputs) of every matrix of the layers."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        for i in range(self.layers):
            hf, gguf = f"model.layers.{i}.", f"blk.{i}."
            yield hf + "self_attn.q_proj", gguf + "attn_q", q, self.hidden
            yield hf + "self_attn.k_proj", gguf + "attn_k", kv, self.hidden
            yield hf + "self_attn.v_proj", gguf + "attn_v", kv, self.hidden
            yield hf + "self_attn.o_proj", gguf + "attn_output", self.hidden, q
            yield hf + "mlp.gate_proj", gguf + "ffn_gate", self.ffn, self.hidden
            yield hf + "mlp.up_proj", gguf + "ffn_up", self.ffn, self.hidden
            yield hf + "mlp.down_proj", gguf + "ffn_down", self.hidden, self.ffn

    def norms(self):
        """(HF name, GGUF name) of every norm's weights."""
        for i in range(self.layers):
            yield f"model.layers.{i}.input_layernorm.weight", f"blk.{i}.attn_norm.weight"
            yield f"model.layers.{i}.post_attention_layernorm.weight", f"blk.{i}.ffn_norm.weight"
        yield "model.norm.weight", "output_norm.weight"

    def kv_bytes_per_token(self, bytes_per_value=2):
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value


SHAPES = {shape.name: shape for shape in (
    Shape("llama-15m", 32000, 288, 768, 6, 6, 6, tied=True),
    Shape("tinyllama-1.1b", 32000, 2048, 5632, 22, 32, 4, tied=False),
    Shape("llama-3.2-1b", 128256, 2048, 8192, 16, 32, 8, tied=True, rope_theta=500000.0, context=8192),
)}


@dataclasses.dataclass(frozen=True)
class Format:
    """How both sides store the matrices."""
    name: str
    bits: int           # of the layers' weights; 16: not quantised
    peer: str           # llama.cpp's name
    quantised_head: bool  # ours; llama.cpp always quantises it
    activations: str = "f32"  # ours, model.activations


# "-head": the output matrix is quantised too, as llama.cpp does. Without, it stays
# BF16, as in most published checkpoints of these forms. "bf16-auto": what is multiplied
# with BF16 weights is rounded to BF16 where that is quicker, which llama.cpp always does.
FORMATS = {f.name: f for f in (
    Format("bf16", 16, "BF16", False),
    Format("bf16-auto", 16, "BF16", False, "auto"),
    Format("int8", 8, "Q8_0", False),
    Format("int8-head", 8, "Q8_0", True),
    Format("int4", 4, "Q4_0", False),
    Format("int4-head", 4, "Q4_0", True),
)}

INT4_GROUP = 32  # weights per scale, as in Q4_0


def step_bytes(tensors):
    """Bytes of weights that one decode step reads, from {name: bytes} in either naming.

    The embedding is read whole only where it is also the output matrix.
    """
    untied = any(name.startswith(("lm_head.", "output.")) for name in tensors)
    return sum(size for name, size in tensors.items()
               if not (untied and name in ("model.embed_tokens.weight", "token_embd.weight")))
