#!/usr/bin/env python3
"""Reads the machine code of the built kernels for sm_90a; runs and compiles nothing.

usage: early_start_test.py FOLDER

A kernel begins while the one before it ends (programmatic dependent launch). So in each, in the
order of the code:
- its own successor is released before anything is waited for, or that one would begin late;
- before the wait nothing in global memory is read or written but weights, which no kernel writes;
- in products of few rows the first weights are asked for before the wait, as loads or as copies to
  shared memory, and nothing waits for them before it.
What the compiler made of the source decides, not the source: loads may be moved over the wait.
"""

import pathlib
import re
import struct
import sys

# Kernels that ask for weights early: loads before the wait.
EARLY_LOADS = {"SkinnyKernel": 8, "Int4Kernel": 8, "Fp8Kernel": 16}
# The same by asynchronous copies to shared memory, of a lane for each stage, whose number is the
# last argument of the template: 64 rows of weights, and the scales of their groups.
EARLY_COPIES = (("Int4WideKernelILb1E", 9), ("Int4WideKernelILb0E", 12), ("Fp8WideKernelILi4ELb1E", 10),
                ("Fp8WideKernelI", 8), ("WideKernelI", 8))
STAGES = re.compile(r"Li(\d)EE")

# Of an instruction of 16 bytes: the operation in the low 12 bits of the first word.
WAIT, RELEASE = 0x82E, 0x82D  # griddepcontrol.wait, .launch_dependents
LOAD = 0x981  # LDG
COPY, COMMIT = 0xFAE, 0x9AF  # cp.async, .commit_group
# Loads and stores through generic and global addresses, asynchronous copies, atomics.
GLOBAL = {LOAD, COPY, 0x980, 0x985, 0x986, 0x98E, 0x9A6, 0x9A8, 0x9A9, 0x3A8, 0x3A9, 0x38A, 0x98A}
# What sets ld.global.nc.L1::no_allocate.L2::128B apart from other loads, in the second word.
WEIGHT_BITS = 0x0408020
ELF = b"\x7fELF\x02\x01\x01A"  # of CUDA's


def functions(data):
    """(name, code) of the kernels for sm_90a in an object file."""
    start = data.find(ELF)
    while start >= 0:
        flags, = struct.unpack_from("<I", data, start + 48)
        if flags >> 8 & 0xFF == 90:
            sections, = struct.unpack_from("<Q", data, start + 40)
            number, names = struct.unpack_from("<HH", data, start + 60)
            headers = [struct.unpack_from("<IIQQQQ", data, start + sections + 64 * i)
                       for i in range(number)]
            for header in headers:
                begin = start + headers[names][4] + header[0]
                name = data[begin:data.index(b"\0", begin)].decode()
                if name.startswith(".text."):
                    yield name[6:], data[start + header[4]:start + header[4] + header[5]]
        start = data.find(ELF, start + 1)


def early_copies_of(symbol):
    """How many copies of a lane a kernel asks for before it waits."""
    for name, copies in EARLY_COPIES:
        if name in symbol:
            return copies * int(STAGES.search(symbol).group(1))
    return 0


def problems(code, early_loads, early_copies):
    """What is wrong with a kernel's code, in words."""
    words = list(struct.iter_unpack("<QQ", code))
    operations = [first & 0xFFF for first, _ in words]
    if operations.count(WAIT) != 1:
        return [f"{operations.count(WAIT)} waits"]
    wait = operations.index(WAIT)
    found = []
    if RELEASE not in operations[:wait]:
        found.append("the successor is not released before the wait")
    pending = set()  # the scoreboards of weights that are on their way
    loads = 0
    copies = operations[:wait].count(COPY)
    if copies != early_copies:
        found.append(f"{copies} copies before the wait, not {early_copies}")
    if copies and COMMIT in operations[:wait]:
        found.append("a group of copies ends before the wait")
    for (_, second), operation in zip(words[:wait + 1], operations):
        waits_for = {board for board in range(6) if second >> 52 + board & 1}
        if pending & waits_for:
            found.append("weights are waited for before the predecessor")
            break
        if operation == LOAD and second & WEIGHT_BITS == WEIGHT_BITS:
            loads += 1
            pending.add(second >> 46 & 7)
        elif operation in GLOBAL - {COPY}:
            found.append(f"access {operation:#x} to global memory before the wait")
    if loads < early_loads:
        found.append(f"{loads} loads of weights before the wait, not {early_loads}")
    return found


def main():
    seen, failed, kernels = set(), 0, 0
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.cu.o")):
        for symbol, code in functions(path.read_bytes()):
            kernel = next(iter(re.findall(r"[A-Z][A-Za-z0-9]*Kernel", symbol)), symbol)
            kernels += 1
            seen.add(kernel)
            for problem in problems(code, EARLY_LOADS.get(kernel, 0),
                                    early_copies_of(symbol)):
                failed += 1
                print(f"{symbol}: {problem}")
    expected = EARLY_LOADS.keys() | {"WideKernel", "Fp8WideKernel", "Int4WideKernel"}
    for kernel in sorted(expected - seen):
        failed += 1
        print(f"no code of {kernel}")
    print(f"early start: {kernels} kernels, {failed} problems")
    return 1 if failed or kernels == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
