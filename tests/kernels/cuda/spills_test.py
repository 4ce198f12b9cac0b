#!/usr/bin/env python3
"""Reads ptxas' reports of the kernels' compilation; compiles nothing.

usage: spills_test.py FOLDER

Every kernel listed below must be there for sm_80 and sm_90a, none of its instances may keep
registers in memory, and none may take more of them than listed. Others are only named when they
spill.
"""

import pathlib
import re
import sys

# Kernels whose speed the registers decide: (instances for an architecture at least, registers of
# a thread at most). 65536 registers of a multiprocessor over threads and blocks at once: 255 for
# two blocks of 128 threads, 170 for three, and so on. Instances for odd widths are not among them.
KERNELS = {
    "DecodeKernel": (2, 170), "PrefillKernel": (2, 255), "HeadNormKernel": (1, 64),
    "NormKernel": (2, 128), "RopeKvKernel": (1, 85), "ScanKernel": (1, 64), "RankKernel": (1, 64),
    "DrawKernel": (1, 85), "AdjustKernel": (1, 85), "SkinnyKernel": (1, 255), "WideKernel": (6, 255),
    "Int4Kernel": (1, 255), "Int4WideKernel": (3, 255), "Int4TileKernel": (1, 255),
    "Fp8Kernel": (4, 255), "Fp8WideKernel": (5, 255), "ScaleFp8SumsKernel": (1, 255),
    "FloatKernel": (1, 255), "SplitKernel": (1, 255), "SplitHalfKernel": (1, 64), "ScaleHalfSumsKernel": (1, 255),
    "QuantizeRowKernel": (1, 255), "QuantizeGroupsKernel": (1, 255), "ScaleSumsKernel": (1, 255),
    "DeltaKernel": (1, 255),
}
ARCHITECTURES = ("sm_80", "sm_90a")
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")


def kernel_of(symbol):
    """The kernel's own name in a mangled symbol."""
    return next(iter(re.findall(r"[A-Z][A-Za-z0-9]*Kernel", symbol)), symbol)


def parse(report):
    """(mangled name, architecture, "… bytes spill …" or "", registers) of ptxas -v output."""
    entry, spills = None, ""
    for line in report.splitlines():
        if match := ENTRY.search(line):
            entry, spills = match.groups(), ""
        elif match := SPILLS.search(line):
            spills = "" if match.groups() == ("0", "0") else match.group(0)
        elif (match := USED.search(line)) and entry:
            yield *entry, spills, int(match.group(1))
            entry = None


def main():
    found, failed, entries = {}, 0, 0
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.ptxas")):
        for symbol, architecture, spills, registers in parse(path.read_text(errors="replace")):
            kernel = kernel_of(symbol)
            entries += 1
            found[kernel, architecture] = found.get((kernel, architecture), 0) + 1
            if spills:
                failed += kernel in KERNELS
                print(f"{'SPILLS' if kernel in KERNELS else 'spills'} {architecture} {symbol}: "
                      f"{spills}")
            if registers > KERNELS.get(kernel, (0, 255))[1]:
                failed += 1
                print(f"{architecture} {symbol}: {registers} registers")
    for kernel, (instances, _) in KERNELS.items():
        for architecture in ARCHITECTURES:
            if (number := found.get((kernel, architecture), 0)) < instances:
                failed += 1
                print(f"{number} of {instances} reports of {kernel} for {architecture}")
    print(f"spills: {entries} kernels, {failed} problems with the listed ones")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
