"""Checkpoints through the real daemon: the same weights stored otherwise, and damaged ones."""

import json
import re
import shutil
import struct

import pytest
from client import Client
from daemon import MODEL, Daemon, run

QUESTIONS = ["What is 2+3?", "What is the largest of 28, 74, 25, 41?", "What is the KV cache?",
             "Reverse the word stone.", "Hello"]
EMBEDDING = "model.embed_tokens.weight"


# ---- the same weights, stored otherwise ----

def read_tensors(path):
    """[(name, dtype, shape, bytes)]"""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + size]), data[8 + size:]
    return [(name, t["dtype"], t["shape"], body[slice(*t["data_offsets"])])
            for name, t in header.items() if name != "__metadata__"]


def write_tensors(path, tensors):
    header, body = {}, b""
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def to_f32(bf16):
    out = bytearray(2 * len(bf16))
    out[2::4], out[3::4] = bf16[0::2], bf16[1::2]
    return bytes(out)


def to_f16(bf16):
    count = len(bf16) // 2
    return struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", to_f32(bf16)))


def store(model, form):
    weights = model / "model.safetensors"
    tensors = read_tensors(weights)
    assert {dtype for _, dtype, _, _ in tensors} == {"BF16"}
    if form != "sharded":
        convert = {"F32": to_f32, "F16": to_f16}[form]
        write_tensors(weights, [(name, form, shape, convert(data)) for name, _, shape, data in tensors])
        return
    weights.unlink()
    weight_map = {}
    for part in range(3):
        file = f"model-{part + 1:05}-of-00003.safetensors"
        write_tensors(model / file, tensors[part::3])
        weight_map.update({name: file for name, *_ in tensors[part::3]})
    index = {"metadata": {}, "weight_map": weight_map}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))


def weight_mib(model):
    result = run("serve", "--model", model, "--dry-run")
    return float(re.search(r"weights +([0-9.]+) MiB", result.stdout)[1])


@pytest.mark.parametrize("form, size", [("F32", 2), ("F16", 1), ("sharded", 1)])
def test_the_same_weights_answer_the_same(tmp_path, client, form, size):
    model = copy_model(tmp_path)
    store(model, form)
    assert weight_mib(model) == pytest.approx(size * weight_mib(MODEL), rel=0.05)
    with Daemon("--kv-cache-size=64MiB", model=model) as daemon, daemon.channel() as channel:
        other = Client(channel)
        for question in QUESTIONS:
            assert other.text(question, temperature=0, max_tokens=40) == \
                client.text(question, temperature=0, max_tokens=40), question


# ---- damage ----

def copy_model(tmp_path):
    target = tmp_path / "model"
    shutil.copytree(MODEL, target)
    return target


def edit_json(model, file, change):
    content = json.loads((model / file).read_text())
    change(content)
    (model / file).write_text(json.dumps(content))


def config(**fields):
    return lambda model: edit_json(model, "config.json", lambda c: c.update(fields))


def tokenizer(change):
    return lambda model: edit_json(model, "tokenizer.json", change)


def replace(file, data):
    return lambda model: (model / file).write_bytes(data)


def cut(file, size):
    return lambda model: (model / file).write_bytes((model / file).read_bytes()[:size])


def remove(file):
    return lambda model: (model / file).unlink()


def embedding(**fields):
    def damage(model):
        path = model / "model.safetensors"
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + size])
        header[EMBEDDING].update(fields)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])
    return damage


# name: (damage, what the line must name)
DAMAGES = {
    "no-config": (remove("config.json"), "config.json"),
    "config-empty": (replace("config.json", b""), "config.json: not valid JSON"),
    "config-list": (replace("config.json", b"[]"), "must be a JSON object"),
    "config-deep": (replace("config.json", b"[" * 100000), "nested deeper"),
    "no-heads": (config(num_attention_heads=0), "num_attention_heads"),
    "heads-text": (config(num_attention_heads="8"), "num_attention_heads"),
    "odd-heads": (config(num_key_value_heads=3), "num_key_value_heads"),
    "hidden-huge": (config(hidden_size=2**40), "hidden_size"),
    "no-layers": (config(num_hidden_layers=0), "num_hidden_layers"),
    "more-layers": (config(num_hidden_layers=100), "model.layers."),
    "vocabulary-small": (config(vocab_size=5), EMBEDDING),
    "context-huge": (config(max_position_embeddings=2**40), "max_position_embeddings"),
    "no-rope-theta": (config(rope_theta=0), "rope_theta"),
    "rope-unknown": (config(rope_scaling={"rope_type": "magic"}), "magic"),
    "yarn-without-factor": (config(rope_scaling={"rope_type": "yarn"}), "factor"),
    "activation": (config(hidden_act="gelu"), "hidden_act"),
    "architecture": (config(architectures=["UnheardOfForCausalLM"], model_type="x"), "UnheardOf"),
    "quantised": (config(quantization_config={"quant_method": "unheard-of"}), "quantization_config"),
    "end-outside": (config(eos_token_id=10**6), "eos_token_id"),
    "untied": (config(tie_word_embeddings=False), "lm_head.weight"),
    "generation-broken": (replace("generation_config.json", b"{"), "generation_config.json"),
    "generation-range": (replace("generation_config.json", b'{"temperature": -1}'), "temperature"),
    "no-weights": (remove("model.safetensors"), "model.safetensors"),
    "weights-empty": (replace("model.safetensors", b""), "too short"),
    "weights-cut": (cut("model.safetensors", -64), "beyond the end"),
    "header-huge": (replace("model.safetensors", struct.pack("<Q", 2**62) + b"{}"), "header"),
    "header-text": (replace("model.safetensors", struct.pack("<Q", 4) + b"abcd"), "header"),
    "offsets-negative": (embedding(data_offsets=[-8, 0]), EMBEDDING),
    "offsets-beyond": (embedding(data_offsets=[2**40, 2**41]), EMBEDDING),
    "shape-overflow": (embedding(shape=[2**33, 2**33]), EMBEDDING),
    "dtype-number": (embedding(dtype=3), EMBEDDING),
    "no-tokenizer": (remove("tokenizer.json"), "tokenizer.json"),
    "tokenizer-cut": (cut("tokenizer.json", 5000), "tokenizer.json: not valid JSON"),
    "tokenizer-kind": (tokenizer(lambda t: t["model"].update(type="Unigram")), "Unigram"),
    "tokenizer-merge": (tokenizer(lambda t: t["model"]["merges"].insert(0, ["zzzz", "y"])), "zzzz"),
    "tokenizer-id": (tokenizer(lambda t: t["added_tokens"][0].update(id=-5)), "added_tokens[0].id"),
    "tokenizer-larger": (tokenizer(lambda t: t["added_tokens"].append(
        dict(t["added_tokens"][0], id=5000, content="<|x|>"))), "5001 tokens"),
    "template-broken": (replace("tokenizer_config.json", b'{"chat_template": "{% for %}"}'), "chat template"),
    "template-number": (replace("tokenizer_config.json", b'{"chat_template": 5}'), "chat_template"),
}
assert len(DAMAGES) >= 25


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, name):
    damage, names = DAMAGES[name]
    model = copy_model(tmp_path)
    damage(model)
    result = run("serve", "--model", model, "--port=0", "--http-port=0", "--log-format=text")
    assert result.returncode == 1, result.stderr
    critical = [line for line in result.stderr.splitlines() if " critical " in line]
    assert len(critical) == 1, result.stderr
    assert str(model) in critical[0]
    assert names in critical[0]
    assert "listening" not in result.stderr.splitlines()[-1]  # the reason is the last line


@pytest.mark.parametrize("path", ["/nowhere/model", str(MODEL / "config.json")])
def test_not_a_directory(path):
    result = run("serve", "--model", path, "--port=0", "--http-port=0", "--log-format=text")
    assert result.returncode == 1
    assert f"{path}: no such directory" in result.stderr.splitlines()[-1]
