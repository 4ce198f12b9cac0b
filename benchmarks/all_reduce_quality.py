#!/usr/bin/env python3
"""What quantised all-reduces cost the demo model: greedy answers of a model split over ranks.

    all_reduce_quality.py OUT.md

Asks the held-out questions of tests/e2e, compares the answers with those of transformers and with the
right ones, and the log-probabilities of their tokens with those of one rank. Needs the virtual
environment of the end-to-end tests (build/venv) and INFERD_BINARY or build/release.
"""

import concurrent.futures
import json
import math
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
import daemon  # noqa: E402

daemon.generate_protos()
from client import Client  # noqa: E402

MODELS = {"demo": "heldout_expected.jsonl"}
SPLITS = [("1", "exact")] + [(tp, mode) for tp in ("2", "4") for mode in ("exact", "always-int8", "always-fp8")]


def answers(model, tp, mode, cases):
    def ask(case):
        messages = [(m["role"], m["content"]) for m in case["messages"]]
        choice = client.ask(messages, temperature=0, max_tokens=64, logprobs=True).choices[0]
        return choice.message.content.strip(), [token.logprob for token in choice.logprobs.content]

    flags = (f"--tp={tp}", f"--parallel.all_reduce={mode}", "--kv-cache-dtype=f32", "--activations=f32")
    with daemon.Daemon(*flags, model=ROOT / "models" / model) as server, server.channel() as channel:
        client = Client(channel)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return list(pool.map(ask, cases))


def main():
    lines = ["| model | tp | all-reduce | answers that differ from transformers' | right | largest, mean "
             "difference of a token's log-probability | perplexity of the answers that agree |",
             "|---|---|---|---|---|---|---|"]
    for model, file in MODELS.items():
        cases = [json.loads(line) for line in (ROOT / "tests/e2e" / file).read_text().splitlines() if line.strip()]
        alone = None
        for tp, mode in SPLITS:
            given = answers(model, tp, mode, cases)
            alone = alone or given
            differ = sum(text != case["transformers"].strip() for (text, _), case in zip(given, cases))
            right = sum(text == case["answer"] for (text, _), case in zip(given, cases))
            pairs = [pair for (text, mine), (other, theirs) in zip(given, alone) if text == other
                     for pair in zip(mine, theirs)]
            gaps = [abs(a - b) for a, b in pairs]
            perplexity = math.exp(-sum(a for a, _ in pairs) / len(pairs))
            lines.append(f"| {model} | {tp} | {mode} | {differ} of {len(cases)} | {right} | {max(gaps):.4f}, "
                         f"{sum(gaps) / len(gaps):.5f} | {perplexity:.4f} |")
            print(lines[-1], flush=True)
    pathlib.Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
