#!/usr/bin/env python3
"""Where the time of engine_bench goes: shares of its samples by kind of work, without loading.

    profile.py ENGINE_BENCH OUT.md MODEL_DIR...

Needs Debian's linux-perf. Samples are of the CPU clock in all threads, so shares hold on a busy
machine too, where times would not. What waits (a thread that sleeps) is not sampled; a thread that
spins for the next loop is "waiting".
"""

import pathlib
import re
import subprocess
import sys
import tempfile

CASES = {
    "decode, 1 stream": ["--decode", "1", "--context", "128", "--tokens", "48"],
    "decode, 16 streams": ["--decode", "16", "--context", "128", "--tokens", "12"],
    "decode, 4 streams at 2,000": ["--decode", "4", "--context", "2000", "--tokens", "24",
                                   "--max-batched-tokens", "512"],
    "prompt of 512": ["--prefill", "512"],
}
# First match wins. None: loading, and what the benchmark does around.
KINDS = [
    (None, r"Pack(Linear|Int)Panel|PackRows$|Unpack|Transpose|Convert|read_bandwidth|ReadBandwidth"),
    ("matrices", r"Tile|RunTile|Linear|RoundGroup|MaxMagnitude|RoundRow|Gemm|Matmul"),
    ("attention", r"SplitRunner|Attention|Score|MixBlocks|Softmax|AppendKv|Rope"),
    ("norms, SwiGLU, adds", r"SiluMul|RmsNorm|Norm|Add|Embed|Gather"),
    ("sampling", r"Sample|Argmax|Philox|TopK|LogSoftmax"),
    ("waiting", r"WorkerLoop|Await|futex|sched_yield|Pause"),
]


def kind_of(symbol, in_kernel):
    if re.search(r"clear_page|page_fault|filemap|copy_user|unmap|zap|exit_mmap|folio|lru", symbol):
        return None  # memory taken for the first time, files mapped
    for kind, pattern in KINDS:
        if re.search(pattern, symbol):
            return kind
    return "system" if in_kernel else "the rest"


def profile(binary, model, arguments):
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-o", data.name, binary,
                        "--model", model, "--repeats", "2", "--bandwidth-mib", "64", *arguments],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report = subprocess.run(["perf", "report", "-i", data.name, "--stdio", "--sort", "symbol",
                                 "-F", "sample,symbol"], check=True, capture_output=True, text=True)
    shares = {}
    for line in report.stdout.splitlines():
        match = re.match(r"\s*(\d+)\s+\[(.)\] (.*?)\s*(-\s+-\s*)?$", line)
        if match:
            kind = kind_of(match[3], match[2] == "k")
            if kind:
                shares[kind] = shares.get(kind, 0) + int(match[1])
    total = sum(shares.values())
    return {kind: 100 * count / total for kind, count in shares.items()}, total


def main():
    binary, out, *models = sys.argv[1:]
    kinds = [kind for kind, _ in KINDS if kind] + ["system", "the rest"]
    lines = ["| model | case | " + " | ".join(kinds) + " | samples |",
             "|---|---|" + "---|" * (len(kinds) + 1)]
    for model in models:
        for name, arguments in CASES.items():
            shares, total = profile(binary, model, arguments)
            cells = [f"{shares.get(kind, 0):.1f} %" for kind in kinds]
            lines.append(f"| {pathlib.Path(model).name} | {name} | " + " | ".join(cells) + f" | {total} |")
            print(lines[-1], flush=True)
    pathlib.Path(out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
