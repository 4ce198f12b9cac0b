"""Makes the same random model for both sides: a Hugging Face directory and a GGUF file.

The weights are drawn once per shape in BF16; every other form is made from those.
"""

import json
import pathlib
import shutil
import subprocess

import numpy as np

import safetensors
import shapes
import vocabulary

ROWS = 1 << 24  # values handled at a time


def _pieces(rows, columns):
    step = max(ROWS // columns, 32)
    return ((first, min(first + step, rows)) for first in range(0, rows, step))


def _config(shape, tied, quantisation=None):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": shape.vocab,
        "hidden_size": shape.hidden, "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "hidden_act": "silu",
        "max_position_embeddings": shape.context, "rms_norm_eps": 1e-5,
        "rope_theta": shape.rope_theta, "rope_scaling": None, "attention_bias": False,
        "mlp_bias": False, "tie_word_embeddings": tied, "torch_dtype": "bfloat16",
        "bos_token_id": shape.vocab - 2, "eos_token_id": shape.vocab - 1,
    }
    if quantisation:
        config["quantization_config"] = quantisation
    return json.dumps(config, indent=1)


def _start(directory):
    """An empty directory beside the final one, so that a half-made model is never taken for one."""
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def make_bf16(shape, directory, seed=1):
    """The HF checkpoint in BF16.

    Rows of tokens that are bytes or special are zero in the embedding and the output
    matrix: greedy decoding never draws them, so every token drawn is whole text.
    """
    if directory.exists():
        return
    part = _start(directory)
    matrices = [("model.embed_tokens.weight", shape.vocab, shape.hidden)]
    matrices += [(hf + ".weight", rows, columns) for hf, _, rows, columns in shape.linears()]
    if not shape.tied:
        matrices.append(("lm_head.weight", shape.vocab, shape.hidden))
    declared = {name: ("BF16", (rows, columns)) for name, rows, columns in matrices}
    declared |= {hf: ("BF16", (shape.hidden,)) for hf, _ in shape.norms()}
    writer = safetensors.Writer(part / "model.safetensors", declared)
    random = np.random.default_rng(seed)
    for name, rows, columns in matrices:
        by_token = name in ("model.embed_tokens.weight", "lm_head.weight")
        for first, last in _pieces(rows, columns):
            values = random.standard_normal((last - first, columns), np.float32)
            values *= np.float32(columns ** -0.5)
            if by_token:
                ids = np.arange(first, last)
                values[(ids < 256) | (ids >= shape.vocab - 2)] = 0
            writer.write(safetensors.to_bf16(values))
    for _ in shape.norms():
        writer.write(safetensors.to_bf16(np.ones(shape.hidden, np.float32)))
    writer.close()
    (part / "config.json").write_text(_config(shape, shape.tied))
    (part / "tokenizer.json").write_text(vocabulary.tokenizer_json(shape.vocab))
    (part / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": vocabulary.BOS,
        "eos_token": vocabulary.EOS, "add_bos_token": False}))
    part.rename(directory)


def quantise_rows_int8(values):
    """f32 [out, in] -> (int8 of the same shape, f32 scales [out, 1]), symmetric."""
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    safe = np.where(scale == 0, np.float32(1), scale)
    return np.rint(values / safe).astype(np.int8), scale


def quantise_groups_int4(values, group=shapes.INT4_GROUP):
    """f32 [out, in] -> GPTQ's (qweight I32 [in/8, out], qzeros I32 [in/group, out/8],
    scales F16 [in/group, out]), symmetric about code 8."""
    rows, columns = values.shape
    grouped = values.reshape(rows, columns // group, group)
    scale = (np.abs(grouped).max(axis=2) / np.float32(7)).astype(np.float16)
    safe = np.where(scale == 0, np.float16(1), scale).astype(np.float32)
    codes = np.clip(np.rint(grouped / safe[:, :, None]), -7, 7).astype(np.int32) + 8
    codes = codes.reshape(rows, columns // 8, 8)
    packed = np.zeros((rows, columns // 8), np.int32)
    for i in range(8):
        packed |= codes[:, :, i] << (4 * i)
    # This form stores each zero point less one.
    zeros = np.full((columns // group, rows // 8), 0x77777777, np.int32)
    return np.ascontiguousarray(packed.T), zeros, np.ascontiguousarray(scale.T)


INT8_SIDE = {"num_bits": 8, "type": "int", "symmetric": True}
INT8_CONFIG = {
    "quant_method": "compressed-tensors", "format": "int-quantized",
    "config_groups": {"group_0": {
        "targets": ["Linear"],
        "weights": {**INT8_SIDE, "strategy": "channel", "dynamic": False},
        "input_activations": {**INT8_SIDE, "strategy": "token", "dynamic": True}}},
    "ignore": []}
INT4_CONFIG = {"quant_method": "gptq", "bits": 4, "group_size": shapes.INT4_GROUP,
               "desc_act": False, "sym": True, "checkpoint_format": "gptq"}


def make_quantised(shape, form, source, directory):
    """The HF checkpoint of `form` from the BF16 one."""
    if directory.exists():
        return
    part = _start(directory)
    tensors = safetensors.read(source / "model.safetensors")
    linears = [(hf, rows, columns) for hf, _, rows, columns in shape.linears()]
    head = [("lm_head", shape.vocab, shape.hidden)]
    if form.quantised_head:
        linears += head
        plain_head = []
    else:
        plain_head = [] if shape.tied else ["lm_head.weight"]
    plain = ["model.embed_tokens.weight", *plain_head, *(hf for hf, _ in shape.norms())]
    group = shapes.INT4_GROUP
    declared = {name: (tensors[name][0], tensors[name][1].shape) for name in plain}
    for name, rows, columns in linears:
        if form.bits == 8:
            declared[name + ".weight"] = ("I8", (rows, columns))
            declared[name + ".weight_scale"] = ("F32", (rows, 1))
        else:
            declared[name + ".qweight"] = ("I32", (columns // 8, rows))
            declared[name + ".qzeros"] = ("I32", (columns // group, rows // 8))
            declared[name + ".scales"] = ("F16", (columns // group, rows))
    writer = safetensors.Writer(part / "model.safetensors", declared)
    for name in plain:
        writer.write(tensors[name][1])
    for name, rows, columns in linears:
        key = name + ".weight"
        bits = tensors[key if key in tensors else "model.embed_tokens.weight"][1]
        parts = []
        for first, last in _pieces(rows, columns):
            values = safetensors.from_bf16(bits[first:last])
            parts.append(quantise_rows_int8(values) if form.bits == 8 else
                         quantise_groups_int4(values))
        axis = 0 if form.bits == 8 else 1
        for tensor in range(len(parts[0])):
            writer.write(np.concatenate([p[tensor] for p in parts], axis=axis))
    writer.close()
    quantisation = INT8_CONFIG if form.bits == 8 else INT4_CONFIG
    tied = shape.tied and not form.quantised_head
    (part / "config.json").write_text(_config(shape, tied, quantisation))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, part / name)
    part.rename(directory)


def rotary_order(bits, heads):
    """Rows of q or k from HF's order (halves) to GGUF's (pairs)."""
    rows, columns = bits.shape
    return bits.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def make_gguf(shape, source, path):
    """The BF16 GGUF file from the BF16 checkpoint."""
    if path.exists():
        return
    import gguf  # the peers' own package; only this function needs it
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(str(part), "llama")
    writer.add_name(shape.name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    tokens, merges = vocabulary.vocabulary(shape.vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (shape.vocab - 2) + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(shape.vocab - 2)
    writer.add_eos_token_id(shape.vocab - 1)
    writer.add_add_bos_token(False)
    tensors = safetensors.read(source / "model.safetensors")

    def add(name, bits):
        writer.add_tensor(name, np.ascontiguousarray(bits).view(np.uint8),
                          raw_dtype=gguf.GGMLQuantizationType.BF16)

    add("token_embd.weight", tensors["model.embed_tokens.weight"][1])
    if not shape.tied:
        add("output.weight", tensors["lm_head.weight"][1])
    for hf, name, _, _ in shape.linears():
        bits = tensors[hf + ".weight"][1]
        if name.endswith(("attn_q", "attn_k")):
            bits = rotary_order(bits, shape.heads if name.endswith("q") else shape.kv_heads)
        add(name + ".weight", bits)
    for hf, name in shape.norms():
        writer.add_tensor(name, safetensors.from_bf16(tensors[hf][1]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)


def gguf_sizes(path):
    import gguf
    return {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(str(path)).tensors}


def requantise(base, path, name, quantize_binary):
    """llama-quantize from the BF16 file."""
    if path.exists():
        return
    part = path.with_suffix(".part")
    subprocess.run([quantize_binary, base, part, name], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    part.rename(path)


def prepare(shape, form, root, quantize_binary):
    """The files of one shape and format: (our HF directory, {llama.cpp's name: GGUF file}).

    For BF16 there is F16 too, for a peer that reads no BF16 from such files.
    """
    root = pathlib.Path(root)
    root.mkdir(parents=True, exist_ok=True)
    bf16 = root / f"{shape.name}-bf16"
    make_bf16(shape, bf16)
    ours = bf16
    if form.bits != 16:
        ours = root / f"{shape.name}-{form.name}"
        make_quantised(shape, form, bf16, ours)
    base = root / f"{shape.name}-BF16.gguf"
    make_gguf(shape, bf16, base)
    wanted = ("BF16", "F16") if form.peer == "BF16" else (form.peer,)
    theirs = {name: root / f"{shape.name}-{name}.gguf" for name in wanted}
    for name, path in theirs.items():
        if name != "BF16":
            requantise(base, path, name, quantize_binary)
    return ours, theirs
