"""Makes small random checkpoints in the quantised layouts that are published, and what transformers computes with them in float32.

  python make_quantised.py [name ...]

The packing is written out here with numpy, after the layouts of AutoAWQ (gemm), AutoGPTQ (v1 and v2), compressed-tensors
(int-quantized, float-quantized) and the fp8 checkpoints of DeepSeek, Qwen and AutoFP8. The expectation is a float32 model holding the
dequantised weights: once as it is, and once with the inputs of its quantised layers rounded to 8 bits (a row at a time for 8-bit
weights, a group at a time for 4-bit ones), or to E4M3 where its weights are that and it asks for it.
"""

import argparse
import json
import math
import os
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quantised")
PROMPT_LENGTHS = (5, 23)
AWQ_COLUMN = (0, 2, 4, 6, 1, 3, 5, 7)  # of the k-th four bits of a word
SHAPE = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=256,
             hidden_act="silu", max_position_embeddings=256, attention_dropout=0.0, bos_token_id=0, eos_token_id=1)
KEEP = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "vocab_size", "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "attention_bias", "bos_token_id",
        "eos_token_id", "attention_dropout", "use_sliding_window")

# name: (config class, its own values, layout, group size, layers left in float)
CASES = {
    "qwen2_awq": (Qwen2Config, dict(rms_norm_eps=1e-6, tie_word_embeddings=True), "awq", 32, ("model.layers.1.mlp.down_proj",)),
    "llama_gptq": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=False), "gptq", 64, ("lm_head",)),
    "llama_gptq_v2": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=True), "gptq_v2", -1, ()),
    "llama_int8": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=False), "int8", 0,
                   ("lm_head", "model.layers.0.mlp.down_proj")),
    "qwen2_fp8": (Qwen2Config, dict(rms_norm_eps=1e-6, tie_word_embeddings=True), "fp8_block", 32, ("model.layers.1.mlp.down_proj",)),
    "llama_fp8_static": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=False), "fp8_static", 0, ("lm_head",)),
    "llama_fp8": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=False), "fp8_channel", 0, ("lm_head",)),
    "llama_fp8_weights": (LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=True), "fp8_weights", 0, ()),
}
FP8_BLOCK_OUTPUTS = 48  # does not divide all layers: the last block of their outputs is smaller
FP8_MAX = 448.0


def PackWords(nibbles, axis):
    """Eight values along `axis` into one int32, the first in the lowest four bits."""
    moved = np.moveaxis(nibbles.astype(np.uint32), axis, -1)
    words = np.zeros(moved.shape[:-1] + (moved.shape[-1] // 8,), np.uint32)
    for k in range(8):
        words |= moved[..., k::8] << np.uint32(4 * k)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32)


def AwqOrder(values):
    """Columns in the order in which AWQ packs them."""
    columns = np.arange(values.shape[1]).reshape(-1, 8)[:, AWQ_COLUMN].reshape(-1)
    return values[:, columns]


def Int4(weight, group, symmetric):
    """(codes [out, in], zeros [out, groups], scales f16 [out, groups]) of a weight [out, in]."""
    out, size = weight.shape
    parts = weight.reshape(out, size // group, group)
    if symmetric:
        scales = (np.abs(parts).max(-1) / 7.5).astype(np.float16)
        zeros = np.full(scales.shape, 8, np.int64)
    else:
        low, high = np.minimum(parts.min(-1), 0), np.maximum(parts.max(-1), 0)
        scales = ((high - low) / 15).astype(np.float16)
        zeros = np.clip(np.rint(-low / scales.astype(np.float32)), 1, 15).astype(np.int64)
    steps = np.rint(parts / scales.astype(np.float32)[..., None]) + zeros[..., None]
    return np.clip(steps, 0, 15).astype(np.int64).reshape(out, size), zeros, scales


def Fp8(values):
    """Float32 values rounded to E4M3, as torch tensors."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float8_e4m3fn)


def Fp8Scales(layout, group, weight):
    """Scales as they are stored, in float32, and as they apply to each weight."""
    out, size = weight.shape
    largest = np.abs(weight)
    if layout == "fp8_block":
        rows, columns = -(-out // FP8_BLOCK_OUTPUTS), size // group
        scales = np.zeros((rows, columns), np.float32)
        for r in range(rows):
            part = largest[r * FP8_BLOCK_OUTPUTS:(r + 1) * FP8_BLOCK_OUTPUTS]
            scales[r] = part.reshape(len(part), columns, group).max((0, 2)) / FP8_MAX
    elif layout == "fp8_channel":
        scales = largest.max(1, keepdims=True) / FP8_MAX
    else:
        scales = np.float32(largest.max() / FP8_MAX).reshape([1] if layout == "fp8_weights" else [])
    scales = torch.from_numpy(np.asarray(scales)).to(torch.bfloat16).float().numpy()
    if layout == "fp8_block":
        return scales, np.repeat(np.repeat(scales, FP8_BLOCK_OUTPUTS, 0)[:out], group, 1)
    return scales, np.broadcast_to(scales, weight.shape)


def Quantise(layout, group, name, weight, tensors):
    """Adds the tensors of one layer, and returns the weight they stand for, in float32."""
    if layout.startswith("fp8"):
        scales, each = Fp8Scales(layout, group, weight)
        codes = Fp8(weight / each)
        tensors[name + ".weight"] = codes
        tensors[name + (".weight_scale_inv" if layout == "fp8_block" else ".weight_scale")] = scales  # stored as bf16
        if layout == "fp8_static":
            tensors[name + ".input_scale"] = np.float32(0.02).reshape([])
        return codes.float().numpy() * each
    if layout == "int8":
        scales = torch.from_numpy(np.abs(weight).max(1, keepdims=True) / 127.5).to(torch.bfloat16).float().numpy()
        codes = np.clip(np.rint(weight / scales), -128, 127).astype(np.int8)
        tensors[name + ".weight"] = codes
        tensors[name + ".weight_scale"] = scales  # stored as bf16
        return codes.astype(np.float32) * scales
    size = weight.shape[1]
    group = size if group == -1 else group
    codes, zeros, scales = Int4(weight, group, symmetric=layout == "gptq")
    if layout == "awq":
        tensors[name + ".qweight"] = PackWords(AwqOrder(codes.T), 1)
        tensors[name + ".qzeros"] = PackWords(AwqOrder(zeros.T), 1)
    else:
        tensors[name + ".qweight"] = PackWords(codes.T, 0)
        tensors[name + ".qzeros"] = PackWords(zeros.T - (1 if layout == "gptq" else 0), 1)
        tensors[name + ".g_idx"] = (np.arange(size) // group).astype(np.int32)
    tensors[name + ".scales"] = np.ascontiguousarray(scales.T)
    steps = (codes.reshape(len(codes), -1, group) - zeros[..., None]).astype(np.float32)
    return (steps * scales.astype(np.float32)[..., None]).reshape(weight.shape)


def QuantisationConfig(layout, group, left):
    if layout == "awq":
        return {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True, "backend": "autoawq",
                "do_fuse": False, "exllama_config": None, "modules_to_fuse": None, "modules_to_not_convert": list(left)}
    if layout in ("gptq", "gptq_v2"):
        return {"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": False, "sym": layout == "gptq", "static_groups": False,
                "damp_percent": 0.1, "true_sequential": True, "checkpoint_format": layout, "lm_head": False,
                "model_name_or_path": None, "model_file_base_name": "model"}
    if layout == "fp8_block":
        return {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [FP8_BLOCK_OUTPUTS, group],
                "modules_to_not_convert": list(left)}
    if layout == "fp8_static":
        return {"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": list(left)}
    if layout.startswith("fp8"):
        side = {"num_bits": 8, "type": "float", "symmetric": True, "group_size": None, "block_structure": None, "actorder": None,
                "observer_kwargs": {}}
        channel = layout == "fp8_channel"
        inputs = dict(side, strategy="token", dynamic=True, observer=None) if channel else None
        group_0 = {"targets": ["Linear"], "output_activations": None, "input_activations": inputs,
                   "weights": dict(side, strategy="channel" if channel else "tensor", dynamic=False, observer="minmax")}
        return {"quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed",
                "global_compression_ratio": 1.5, "kv_cache_scheme": None, "ignore": list(left), "config_groups": {"group_0": group_0}}
    side = {"num_bits": 8, "type": "int", "symmetric": True, "group_size": None, "block_structure": None, "actorder": None,
            "observer_kwargs": {}}
    group_0 = {"targets": ["Linear"], "output_activations": None,
               "weights": dict(side, strategy="channel", dynamic=False, observer="minmax"),
               "input_activations": dict(side, strategy="token", dynamic=True, observer=None)}
    return {"quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
            "global_compression_ratio": 1.5, "kv_cache_scheme": None, "ignore": list(left), "config_groups": {"group_0": group_0}}


def Digest(values):
    """64-bit FNV-1a of the bytes of the float32 values."""
    h = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(values, np.float32).tobytes():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def RoundInput(x, group, fp8):
    parts = x.reshape(*x.shape[:-1], -1, group)
    largest = parts.abs().amax(-1, keepdim=True)
    if fp8:
        steps = (parts * torch.where(largest > 0, FP8_MAX / largest, 0)).to(torch.float8_e4m3fn).float()
        return (steps * (largest / FP8_MAX)).reshape(x.shape)
    steps = torch.round(parts * torch.where(largest > 0, 127 / largest, 0))
    return (steps * (largest / 127)).reshape(x.shape)


def Round(values):
    return [float(f"{v:.7g}") for v in values]


def Make(case):
    config_class, values, layout, group, left = CASES[case]
    config = config_class(**SHAPE, **values)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(7)
    stored, tensors, decoded, hooks = (torch.bfloat16 if layout == "int8" or layout.startswith("fp8") else torch.float16), {}, {}, []
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.dim() == 1:
                w = torch.randn(p.shape, generator=generator) * (0.3 if name.endswith("bias") else 0.2)
                w = w if name.endswith("bias") else w + 1
            elif "embed" in name or "lm_head" in name:
                w = torch.randn(p.shape, generator=generator)
            else:
                w = torch.randn(p.shape, generator=generator) * (1.2 / math.sqrt(p.shape[1]))
                # A few inputs much wider than the rest, and no row like another.
                w[:, 3] *= 3
                w *= torch.linspace(0.5, 1.5, p.shape[0])[:, None]
            layer = name.removesuffix(".weight")
            if "_proj.weight" in name and layer not in left:
                w = torch.from_numpy(Quantise(layout, group, layer, w.numpy(), tensors))
                decoded[layer] = w.numpy()
                hooks.append((layer, w.shape[1] if group <= 0 else group))
            else:
                w = w.to(stored).float()
                tensors[name] = w.numpy()
            p.copy_(w)
        model.tie_weights()
    if layout == "gptq":  # as its older writers did
        for layer in [n for n in decoded if "mlp" in n]:
            tensors[layer + ".bias"] = np.zeros(decoded[layer].shape[0], np.float32)

    folder = os.path.join(HERE, case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    typed = {n: t if torch.is_tensor(t) else torch.from_numpy(np.array(t, order="C")) for n, t in tensors.items()}
    save_file({n: t.to(stored) if t.dtype == torch.float32 else t for n, t in typed.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    full = json.loads(config.to_json_string(use_diff=False))
    written = {"architectures": [type(model).__name__]}
    written.update({k: full[k] for k in KEEP if full.get(k) is not None})
    written.update({"rope_theta": full["rope_parameters"]["rope_theta"], "torch_dtype": str(stored).split(".")[1],
                    "quantization_config": QuantisationConfig(layout, group, left)})
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(written, f, indent=2)
        f.write("\n")

    prompts = [torch.randint(2, config.vocab_size, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]
    with torch.no_grad():
        plain = [model(torch.tensor([p])).logits[0] for p in prompts]
        for layer, size in hooks if layout != "fp8_weights" else []:
            model.get_submodule(layer).register_forward_pre_hook(
                lambda _, args, size=size: (RoundInput(args[0], size, layout.startswith("fp8")),))
        rounded = [model(torch.tensor([p])).logits[0] for p in prompts]
    expected = {"case": case, "prompts": [], "layers": {}}
    for i, prompt in enumerate(prompts):
        positions = range(len(prompt)) if i == 0 else [len(prompt) - 1]
        expected["prompts"].append({"ids": prompt, "logits": [
            {"position": p, "values": Round(plain[i][p].tolist()), "rounded": Round(rounded[i][p].tolist())} for p in positions]})
    for layer, w in sorted(decoded.items()):
        expected["layers"][layer] = {"first": [float(v) for v in w[0, :4]], "fnv1a": Digest(w)}
    with open(os.path.join(folder, "expected.json"), "w", encoding="ascii") as f:
        f.write(json.dumps(expected) + "\n")
    spread = plain[0].std().item()
    differs = max((a - b).abs().max().item() for a, b in zip(plain, rounded))
    print(f"{case}: logits std {spread:.2f}, rounding inputs moves them by up to {differs:.3f}, "
          f"{sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder))} bytes", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for case in args.cases or CASES:
        Make(case)


if __name__ == "__main__":
    main()
