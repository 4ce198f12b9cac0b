"""Makes small random checkpoints of each model family and what transformers computes with them in float32.

  python make_goldens.py [family ...]

Weights are rounded to the stored dtype first; the expectation is float32 arithmetic on the rounded weights. Greedy text
must not hang on rounding: seeds are tried until the smallest gap between the best and the second logit, over all greedy
steps of all prompts, is above MIN_MARGIN, and until float64 arithmetic gives the same text.
"""

import argparse
import json
import math
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

HERE = os.path.dirname(os.path.abspath(__file__))
NEW_TOKENS = 256
MIN_MARGIN = 0.01
MIN_DISTINCT = 40  # different tokens in each greedy text: no text that only repeats itself
HEAD_STD = 1.5
PROMPT_LENGTHS = (5, 23, 117)

COMMON = dict(hidden_act="silu", max_position_embeddings=512, attention_dropout=0.0, use_cache=True,
              bos_token_id=0, eos_token_id=1, initializer_range=0.02)

# name: (config class, config, stored dtype of a tensor name, largest shard in bytes or None)
FAMILIES = {
    "llama2": (LlamaConfig, dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                                 num_key_value_heads=4, rms_norm_eps=1e-5, tie_word_embeddings=False), torch.float32, None),
    "llama3": (LlamaConfig, dict(vocab_size=384, hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=6,
                                 num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, tie_word_embeddings=True,
                                 rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                                                      high_freq_factor=4.0, original_max_position_embeddings=64)), torch.bfloat16, None),
    "llama_linear": (LlamaConfig, dict(vocab_size=300, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                                       num_key_value_heads=2, rms_norm_eps=1e-6, tie_word_embeddings=False,
                                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)), torch.float16, None),
    "llama_yarn": (LlamaConfig, dict(vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                                     num_key_value_heads=2, rms_norm_eps=1e-6, tie_word_embeddings=True,
                                     rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=32.0, beta_slow=1.0,
                                                          original_max_position_embeddings=64)), torch.float32, None),
    "mistral": (MistralConfig, dict(vocab_size=512, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=8,
                                    num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False,
                                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), torch.bfloat16, 150_000),
    "qwen2": (Qwen2Config, dict(vocab_size=512, hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=4,
                                num_key_value_heads=2, rms_norm_eps=1e-6, tie_word_embeddings=True, use_sliding_window=False,
                                rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), torch.float16, None),
    "qwen3": (Qwen3Config, dict(vocab_size=400, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
                                num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=False,
                                rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), torch.bfloat16, 120_000),
}


def Build(family, seed):
    """A model whose weights are already rounded to the stored dtype, in float32."""
    config_class, values, dtype, _ = FAMILIES[family]
    config = config_class(**COMMON, **values)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.dim() == 1 and name.endswith("bias"):
                w = torch.randn(p.shape, generator=generator) * 0.3
            elif name == "model.norm.weight" and config.tie_word_embeddings:
                # Signs of both kinds: otherwise a token's own embedding wins and the text is one token repeated.
                w = torch.randn(p.shape, generator=generator)
            elif p.dim() == 1:
                w = 1.0 + 0.2 * torch.randn(p.shape, generator=generator)
            elif "lm_head" in name or ("embed" in name and config.tie_word_embeddings):
                # Logits far apart: with hundreds of greedy steps, near ties would be certain otherwise.
                w = torch.randn(p.shape, generator=generator) * HEAD_STD
            elif "embed" in name:
                w = torch.randn(p.shape, generator=generator)
            else:
                # Wide enough that every layer changes the answer, narrow enough that rounding noise does not grow.
                std = 1.2 / math.sqrt(p.shape[1])
                if config.tie_word_embeddings and name.endswith(("o_proj.weight", "down_proj.weight")):
                    std *= 2 * HEAD_STD
                w = torch.randn(p.shape, generator=generator) * std
            p.copy_(w.to(dtype).float())
        model.tie_weights()
    return model


def Greedy(model, prompt, dtype):
    """(ids, logits of the prompt positions, smallest gap of the two best logits over all steps)."""
    with torch.no_grad():
        step = model(torch.tensor([prompt]), use_cache=True)
        first = step.logits[0]
        ids, margin = [], math.inf
        for _ in range(NEW_TOKENS):
            last = step.logits[0, -1]
            top = torch.topk(last, 2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            ids.append(top.indices[0].item())
            step = model(torch.tensor([[ids[-1]]]), past_key_values=step.past_key_values, use_cache=True)
    return ids, first, margin


def Round(values):
    return [float(f"{v:.7g}") for v in values]


def Save(family, model):
    _, _, dtype, shard_bytes = FAMILIES[family]
    folder = os.path.join(HERE, family)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    tied = model.config.tie_word_embeddings
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    config = json.loads(model.config.to_json_string(use_diff=False))
    # The keys that published checkpoints of these families carry, in the older flat form of the RoPE settings.
    keep = ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "attention_bias", "mlp_bias",
            "sliding_window", "use_sliding_window", "bos_token_id", "eos_token_id", "attention_dropout", "initializer_range", "use_cache"]
    flat = {"architectures": [type(model).__name__]}
    flat.update({k: config[k] for k in keep if k in config})
    if flat.get("head_dim") is None:
        flat.pop("head_dim", None)
    rope = dict(config["rope_parameters"])
    flat["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    flat["rope_scaling"] = None if kind == "default" else {"rope_type": kind, **{k: v for k, v in rope.items() if v is not None}}
    flat["torch_dtype"] = str(dtype).split(".")[1]
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(flat, f, indent=2)
        f.write("\n")
    if shard_bytes is None:
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        return
    shards, used = [{}], 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and used + size > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += size
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, os.path.join(folder, file), metadata={"format": "pt"})
        weight_map.update({name: file for name in shard})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": weight_map}, f, indent=2)
        f.write("\n")


def Make(family):
    for seed in range(1, 200):
        model = Build(family, seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        prompts = [torch.randint(2, model.config.vocab_size, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]
        results, margin = [], math.inf
        for prompt in prompts:
            results.append(Greedy(model, prompt, torch.float32))
            margin = min(margin, results[-1][2])
            if margin <= MIN_MARGIN:
                break
        if margin <= MIN_MARGIN or any(len(set(r[0])) < MIN_DISTINCT for r in results):
            continue
        Save(family, model)
        folder = os.path.join(HERE, family)
        # What is checked is what was written: the loaded checkpoint must answer the same, in float32 and in float64.
        for dtype in (torch.float32, torch.float64):
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
            for prompt, (ids, logits, _) in zip(prompts, results):
                again, again_logits, _ = Greedy(loaded, prompt, dtype)
                assert again == ids, (family, seed, dtype)
                difference = (again_logits.float() - logits).abs().max().item()
                assert difference < 5e-3, (family, seed, dtype, difference)
        expected = {"family": family, "seed": seed, "min_margin": float(f"{margin:.4g}"), "prompts": []}
        for i, (prompt, (ids, logits, own_margin)) in enumerate(zip(prompts, results)):
            positions = range(len(prompt)) if i == 0 else [len(prompt) - 1]
            expected["prompts"].append({"ids": prompt, "greedy": ids, "min_margin": float(f"{own_margin:.4g}"),
                                        "logits": [{"position": p, "values": Round(logits[p].tolist())} for p in positions]})
        with open(os.path.join(folder, "expected.json"), "w", encoding="ascii") as f:
            f.write(json.dumps(expected) + "\n")
        spread = results[0][1].std().item()
        print(f"{family}: seed {seed}, margin {margin:.4f}, logits std {spread:.2f}, float64 differs by {difference:.1e}, "
              f"distinct tokens {[len(set(r[0])) for r in results]}, {sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder))} bytes", flush=True)
        return
    raise SystemExit(f"{family}: no seed with a margin above {MIN_MARGIN}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for family in args.families or FAMILIES:
        Make(family)


if __name__ == "__main__":
    main()
