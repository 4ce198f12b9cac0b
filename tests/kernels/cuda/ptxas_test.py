#!/usr/bin/env python3
"""Compiles the kernels that hold much in registers and reads what ptxas says of them.

usage: ptxas_test.py KERNELS_FOLDER [NVCC]

Fails on a spill, on more registers than listed, and on a listed kernel that is not there.
Exits with 77, which CTest counts as skipped, where there is no nvcc.
"""

import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
ARCHITECTURES = ("80", "90a")
# file: {kernel: (instances, registers at most)}. 65536 registers of a multiprocessor over
# threads and blocks at once: 255 for two blocks of 128 threads, 170 for three, and so on.
KERNELS = {
    "attention_decode.cu": {"DecodeKernel": (2, 170)},
    "attention_prefill.cu": {"PrefillKernel": (2, 255)},
    "norm.cu": {"HeadNormKernel": (1, 64), "10NormKernel": (2, 128)},
    "rope_kv.cu": {"RopeKvKernel": (1, 85)},
    "linear_int4.cu": {"Kernel": (1, 255)},
    "sample.cu": {"ScanKernel": (1, 64), "RankKernel": (1, 64), "DrawKernel": (1, 85)},
}
ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\S+)'")
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")


def parse(log):
    """[(mangled name, architecture, bytes spilled, registers)] of ptxas -v output."""
    kernels = []
    name = architecture = None
    spilled = 0
    for line in log.splitlines():
        if match := ENTRY.search(line):
            name, architecture = match.groups()
            spilled = 0
        elif match := SPILL.search(line):
            spilled = int(match.group(2)) + int(match.group(3))
        elif (match := USED.search(line)) and name is not None:
            kernels.append((name, architecture, spilled, int(match.group(1))))
            name = None
    return kernels


def judge(file, kernels):
    """What is wrong with the kernels of a file, as lines of text."""
    problems = []
    for name, architecture, spilled, _ in kernels:
        if spilled > 0:
            problems.append(f"{file}: {name} for {architecture} spills {spilled} bytes")
    for part, (instances, most) in KERNELS[file].items():
        for architecture in ARCHITECTURES:
            found = [k for k in kernels if part in k[0] and k[1] == f"sm_{architecture}"]
            if len(found) < instances:
                problems.append(f"{file}: {len(found)} of {instances} {part} for sm_{architecture}")
            problems += [f"{file}: {name} for sm_{architecture} uses {used} registers of {most}"
                         for name, _, _, used in found if used > most]
    return problems


def compile_file(nvcc, folder, file, out):
    command = [nvcc, "-std=c++20", "-O3", "-DNDEBUG", f"-I{folder.parent}", "-Xptxas=-v", "-c",
               str(folder / file), "-o", str(pathlib.Path(out) / (file + ".o"))]
    command += [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log = done.stdout + done.stderr
    if done.returncode != 0:
        return 0, [f"{file}: {log.strip()}"]
    kernels = parse(log)
    return len(kernels), judge(file, kernels)


def main():
    folder = pathlib.Path(sys.argv[1])
    nvcc = shutil.which(sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] else "nvcc")
    if nvcc is None:
        print("ptxas_test: skipped: no nvcc")
        return SKIPPED
    count = 0
    problems = []
    with tempfile.TemporaryDirectory() as out, concurrent.futures.ThreadPoolExecutor(2) as pool:
        for kernels, found in pool.map(lambda f: compile_file(nvcc, folder, f, out), KERNELS):
            count += kernels
            problems += found
    for problem in problems:
        print(problem)
    print(f"ptxas_test: {count} kernels, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
