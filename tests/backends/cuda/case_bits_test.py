#!/usr/bin/env python3
"""Compares two machines that run the same kernels, bit by bit.

usage: case_bits_test.py PROGRAM PROGRAM

Both print a line with a name and a hash for each case, and the hashes have to agree. Not those of
attention without tensor cores (caches in f32, odd heads), for which the compilers bring an expf of
their own each: these are only counted.
"""

import re
import subprocess
import sys

EXPF = re.compile(r"(Attention|Rope\w*AppendKv)_(f32_|\w+_d(8|36)_)")


def bits_of(program):
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.rsplit(" ", 1) for line in lines)


def main():
    one, other = (bits_of(program) for program in sys.argv[1:3])
    differ = [name for name in one if one[name] != other.get(name)]
    wrong = [name for name in differ if not EXPF.match(name)]
    for name in wrong:
        print(f"other bits: {name}")
    print(f"case bits: {len(one)} cases, {len(differ)} differ, {len(wrong)} of them must not")
    return 1 if wrong or len(one) < 200 or one.keys() != other.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
