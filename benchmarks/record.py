#!/usr/bin/env python3
"""Runs the benchmarks on this machine and writes one dated record that names it.

`./dev bench` calls this with the release binaries and the address of a daemon that serves
the demo model.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return re.sub(r"\s+", " ", line.partition(":")[2]).strip()
    return os.uname().machine


def memory_gib():
    total = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return int(total[1]) / 2**20


def commit():
    result = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def run(command, timeout=1800):
    print("$", " ".join(map(str, command)), flush=True)
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            timeout=timeout, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


# Some shapes of one large model; kernel_bench alone times all shapes and test cases.
FILTERS = {"kernel_bench": "TinyLlama1.1B/(gate_up|down)/|TinyLlama1.1B/Attention.*_2048|Sample"}


def micro(binary, seconds):
    """A Google Benchmark program as a Markdown table."""
    out = run([binary, "--benchmark_format=json", f"--benchmark_min_time={seconds}",
               f"--benchmark_filter={FILTERS.get(binary.name, '.')}"])
    # kernel_bench says first what the ceilings are.
    about, brace, rest = out.partition("{")
    rows = [about.strip() + "\n"] if about.strip() else []
    rows += ["| case | time | figures |", "|---|---|---|"]
    skip = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions",
            "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit", "label",
            "error_occurred", "error_message"}
    for case in json.loads(brace + rest)["benchmarks"]:
        if case.get("error_occurred"):
            rows.append(f"| {case['name']} | – | {case.get('error_message', '')} |")
            continue
        figures = [f"{key} {value:.4g}" for key, value in case.items()
                   if key not in skip and isinstance(value, (int, float))]
        if case.get("label"):
            figures.append(case["label"])
        rows.append(f"| {case['name']} | {case['real_time']:.4g} {case['time_unit']} | {', '.join(figures)} |")
    return "\n".join(rows)


def serving(binary, address, scale):
    """Closed and open loops against the daemon."""
    runs = [
        ("1 in flight, 128 in, 64 out", ["--concurrency", 1, "--requests", 4 * scale, "--prompt-tokens", 128]),
        ("4 in flight", ["--concurrency", 4, "--requests", 12 * scale, "--prompt-tokens", 128]),
        ("16 in flight", ["--concurrency", 16, "--requests", 24 * scale, "--prompt-tokens", 128]),
        ("64 in flight", ["--concurrency", 64, "--requests", 48 * scale, "--prompt-tokens", 128]),
        ("16 in flight, 96 of 128 prompt tokens shared",
         ["--concurrency", 16, "--requests", 24 * scale, "--prompt-tokens", 128, "--shared-prefix", 96]),
        ("10 requests/s, 16:256 in, 8:64 out",
         ["--rate", 10, "--requests", 10 * scale, "--prompt-tokens", "16:256", "--output-tokens", "8:64"]),
    ]
    texts = []
    for title, flags in runs:
        table = run([binary, "--addr", address, "--seed", 1, *flags])
        texts.append(f"### {title}\n\n```\n{table}```")
    return "\n\n".join(texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--addr", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=10, help="scale of the serving runs")
    arguments = parser.parse_args()
    today = datetime.date.today().isoformat()
    load = os.getloadavg()[0]
    parts = [
        f"# Benchmarks of {today}\n",
        f"- device: {cpu_model()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB; no GPU involved",
        f"- load average before the run: {load:.2f}" +
        (" (other work was running: do not compare)" if load > 1 else ""),
        f"- commit: {commit()}, Release build",
        "",
    ]
    for name in ("kernel_bench", "scheduler_bench", "tokenizer_bench"):
        if (arguments.bin / name).exists():
            parts.append(f"## {name}\n\n{micro(arguments.bin / name, 0.1)}\n")
    parts.append("## Serving the demo model (serve_load, client on the same cores)\n\n" +
                 serving(arguments.bin / "serve_load", arguments.addr, max(arguments.seconds, 1)) + "\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = re.sub(r"[^A-Za-z0-9]+", "-", cpu_model()).strip("-").lower()
    path = arguments.out / f"{today}-{device}.md"
    path.write_text("\n".join(parts))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
