#!/usr/bin/env python3
"""Quantises the demo models in every way, scores them on the held-out questions, and writes
one dated record.

  benchmarks/quality.py --bin build/release/bin
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import tempfile

from record import ROOT, commit, cpu_model

QUESTIONS = ROOT / "tools/demo_model/heldout.jsonl"
# model -> group sizes that divide its layers and are worth a row
MODELS = {"demo": [128, 64, 32], "demo-small": [32]}
INTRODUCTION = """\
Exact answers out of those held out, and the perplexity of the right answers given their questions,
by `quality_bench`: greedy decoding through the daemon's model, ops and KV cache. "kept" is the share of
the exact answers of the unquantised weights with the same KV cache. int4-awq was calibrated with the
built-in text, which has none of the held-out questions.
"""


def variants(groups):
    """(name, arguments of `inferd quantize`)"""
    head = ["--head", "int8"]
    yield "int8", ["--method", "int8"]
    yield "fp8", ["--method", "fp8"]
    yield "int8, head too", ["--method", "int8", *head]
    for group in groups:
        for method in ("int4-rtn", "int4-awq"):
            arguments = ["--method", method, "--group-size", str(group)]
            yield f"{method}, groups of {group}", arguments
            if method == "int4-awq":
                yield f"{method}, groups of {group}, head int8", [*arguments, *head]


def run(*command):
    print("$", *command, flush=True)
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--kv", nargs="+", default=["bf16", "int8"], help="KV cache types")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "benchmarks/results")
    args = parser.parse_args()
    now = datetime.datetime.now()
    lines = [f"# Quality of quantised weights, {now:%Y-%m-%d}", "",
             f"{cpu_model()}, commit {commit()}.", "", INTRODUCTION]
    with tempfile.TemporaryDirectory() as scratch:
        for model, groups in MODELS.items():
            source = ROOT / "models" / model
            checkpoints = [("BF16", source)]
            for number, (name, arguments) in enumerate(variants(groups)):
                target = pathlib.Path(scratch) / f"{model}-{number}"
                run(args.bin / "inferd", "quantize", *arguments, source, target)
                checkpoints.append((name, target))
            head = "| weights | MB |" + "".join(
                f" exact, KV {kv} | kept | perplexity |" for kv in args.kv)
            lines += [f"## {model}", "", head, "|---|" + "---:|" * (1 + 3 * len(args.kv))]
            plain = {}
            for name, path in checkpoints:
                row = ""
                for kv in args.kv:
                    score = json.loads(run(args.bin / "quality_bench", "--model", path,
                                           "--questions", QUESTIONS, "--kv-dtype", kv))
                    exact = score["exact"]
                    kept = 100 * exact / plain.setdefault(kv, exact)
                    row += f" {exact} / {score['asked']} | {kept:.1f} % | {score['perplexity']:.4f} |"
                lines.append(f"| {name} | {score['bytes'] / 1e6:.1f} |{row}")
            lines.append("")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{now:%Y-%m-%d-%H%M%S}-quality.md"
    path.write_text("\n".join(lines))
    print(path)


if __name__ == "__main__":
    main()
