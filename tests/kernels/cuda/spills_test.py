#!/usr/bin/env python3
"""Reads ptxas' reports of the kernels' compilation.

usage: spills_test.py FOLDER

Every kernel listed below must be there for sm_80 and sm_90a, and none of its instances may keep
registers in memory. Others are only listed when they do.
"""

import pathlib
import re
import sys

# Those whose speed the registers decide. Instances for odd widths are not among them.
KERNELS = {"SkinnyKernel", "Int4Kernel", "FloatKernel", "SplitKernel", "QuantizeRowKernel",
           "QuantizeGroupsKernel", "ScaleSumsKernel", "DeltaKernel"}
ARCHITECTURES = {"sm_80", "sm_90a"}
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def kernel_of(symbol):
    """The kernel's own name in a mangled symbol."""
    return next(iter(re.findall(r"[A-Z][A-Za-z0-9]*Kernel", symbol)), symbol)


def main():
    seen, failed, entries = set(), 0, 0
    for report in sorted(pathlib.Path(sys.argv[1]).rglob("*.ptxas")):
        entry = None
        for line in report.read_text(errors="replace").splitlines():
            if match := ENTRY.search(line):
                entry = match.groups()
                entries += 1
                seen.add((kernel_of(entry[0]), entry[1]))
            elif (match := SPILLS.search(line)) and entry and match.groups() != ("0", "0"):
                listed = kernel_of(entry[0]) in KERNELS
                failed += listed
                print(f"{'SPILLS' if listed else 'spills'} {entry[1]} {entry[0]}: {match.group(0)}")
    missing = sorted(f"{kernel} for {architecture}" for kernel in KERNELS
                     for architecture in ARCHITECTURES if (kernel, architecture) not in seen)
    for name in missing:
        print(f"no report of {name}")
    print(f"spills: {entries} kernels, {failed} of the listed spill, {len(missing)} missing")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
