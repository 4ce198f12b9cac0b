"""The demo model answers as recorded, question by question."""

import collections
import concurrent.futures
import json

import pytest
from client import Client
from daemon import ROOT, Daemon

# {"messages", "answer": the right one, "transformers": the recorded greedy one, "token_ids"}
EXPECTED = {"demo": ROOT / "tests" / "e2e" / "heldout_expected.jsonl",
            "demo-small": ROOT / "tests" / "e2e" / "heldout_expected_small.jsonl"}
CATEGORIES = ROOT / "tools" / "demo_model" / "heldout.jsonl"


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


@pytest.mark.parametrize("model, activations, kv_dtype, may_differ, least_right",
                         [("demo", "f32", "f32", 0, 0.85), ("demo", "f32", "bf16", 5, 0.85),
                          ("demo", "f32", "int8", 8, 0.85), ("demo", "bf16", "f32", 5, 0.85),
                          ("demo-small", "f32", "f32", 0, 0.65), ("demo-small", "bf16", "f32", 15, 0.65)])
def test_answers_agree(model, activations, kv_dtype, may_differ, least_right):
    """Greedy answers equal those that transformers gave in float32 for the same
    weights, and are as often right. A KV cache in BF16 or 8 bits rounds keys and values,
    which turns a near tie now and then (measured: 2 of 570 with either). So does rounding
    activations to BF16 (measured by VDPBF16PS: 1 of 570, 5 with the small model)."""
    cases = read_lines(EXPECTED[model])
    categories = [line["category"] for line in read_lines(CATEGORIES)]
    assert len(cases) == len(categories) >= 300

    def ask(case):
        messages = [(m["role"], m["content"]) for m in case["messages"]]
        return client.text(messages, temperature=0, max_tokens=64).strip()

    directory = ROOT / "models" / model
    flags = (f"--activations={activations}", f"--kv-cache-dtype={kv_dtype}")
    with Daemon(*flags, model=directory) as daemon, daemon.channel() as channel:
        client = Client(channel)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, cases))
    wrong = [(case["messages"][-1]["content"], case["transformers"], answer)
             for case, answer in zip(cases, answers) if answer != case["transformers"].strip()]

    right, asked = collections.Counter(), collections.Counter(categories)
    for case, category, answer in zip(cases, categories, answers):
        right[category] += answer == case["answer"]
    scores = ", ".join(f"{name} {right[name]}/{asked[name]}" for name in asked)
    print(f"{model}, activations {activations}, KV cache {kv_dtype}: {len(wrong)} differ; "
          f"score {sum(right.values())}/{len(cases)}: {scores}")

    assert len(wrong) <= may_differ, f"{len(wrong)} of {len(cases)} differ, first: {wrong[:3]}"
    assert sum(right.values()) >= least_right * len(cases)
