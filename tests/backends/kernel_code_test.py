#!/usr/bin/env python3
"""Checks the compiled kernels of x86-64: which instruction sets are in them, and that none of
their instructions is outside; tile instructions are in the functions over tiles only.

usage: kernel_code_test.py OBJDUMP ARCHIVE

Every function with AVX code must be in the namespace of an instruction set (N_AVX2 and better).
Elsewhere, and above all in what the linker may take for the whole program (templates and inline
functions of the standard library), an instruction of AVX or BMI would end the program on a
processor that only wanted to print its version.
"""

import re
import subprocess
import sys

# AVX, AVX2, FMA, F16C and AVX-512 begin with v or, on masks, with k; BMI has names of its own.
# TZCNT runs as BSF on old processors, where compilers emit it on purpose.
VECTOR = re.compile(r"v(?!err$|erw$)[a-z0-9]+|k(?:mov|or|and|xor|not|shift|unpck|test|add)[a-z]+|"
                    r"andn|bextr|blsi|blsmsk|blsr|bzhi|lzcnt|mulx|pdep|pext|rorx|sarx|shlx|shrx")
# AMX, and where it may be.
TILES = re.compile(r"(?:ld|st)tilecfg|tile(?:release|zero|loadd|loaddt1|stored)|tdp[a-z0-9]+")
TILE_FUNCTION = re.compile(r"AmxTiles|\bLinear(?:Int|Int4)?Tiles(?:Target)?\(|\bBurnTileProducts\(")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\s+(?:\{\w+\}\s+)?([a-z][a-z0-9]*)")
NAMESPACE = re.compile(r"::(N_[A-Z0-9_]+)::")


def scan(lines):
    """(instruction sets seen, functions with vector instructions outside of them)."""
    seen, strays, function, namespaces = set(), set(), "", []
    for line in lines:
        if match := FUNCTION.match(line):
            function = match.group(1)
            namespaces = NAMESPACE.findall(function)
            seen.update(namespaces)
        elif not namespaces and (match := INSTRUCTION.match(line)):
            if VECTOR.fullmatch(match.group(1)):
                strays.add(f"{function}: {match.group(1)}")
    return seen, strays


def tile_functions(lines):
    """Functions with tile instructions."""
    found, function = set(), ""
    for line in lines:
        if match := FUNCTION.match(line):
            function = match.group(1)
        elif (match := INSTRUCTION.match(line)) and TILES.fullmatch(match.group(1)):
            found.add(function)
    return found


def self_test():
    seen, strays = scan([
        "0000000000000000 <inferd::kernels::N_AVX2::Add(float*)>:",
        "   0:\tvaddps %ymm0,%ymm1,%ymm2",
        "0000000000000010 <float const& std::max<float>(float const&, float const&)>:",
        "  10:\tmovss  (%rdi),%xmm0",
        "  14:\tvmaxss %xmm0,%xmm1,%xmm2",
    ])
    assert seen == {"N_AVX2"}, seen
    assert tile_functions([
        "0000000000000000 <inferd::kernels::Norm(float*)>:",
        "   0:\ttilezero %tmm0",
        "0000000000000010 <inferd::kernels::Rope(float*)>:",
        "  10:\tvmaxss %xmm0,%xmm1,%xmm2",
    ]) == {"inferd::kernels::Norm(float*)"}
    assert strays == {"float const& std::max<float>(float const&, float const&): vmaxss"}, strays


def main(objdump, archive):
    self_test()
    result = subprocess.run([objdump, "-dC", "--no-show-raw-insn", archive], check=True,
                            capture_output=True, text=True)
    lines = result.stdout.splitlines()
    seen, strays = scan(lines)
    tiled = tile_functions(lines)
    outside = sorted(name for name in tiled if not TILE_FUNCTION.search(name))
    lesser = sorted(name for name in seen if not name.startswith("N_AVX"))
    for stray in sorted(strays):
        print(f"vector code outside of an instruction set's namespace: {stray}")
    for name in lesser:
        print(f"compiled for less than AVX2: {name}")
    for name in outside:
        print(f"tile instructions outside of the functions over tiles: {name}")
    if "N_AVX2" not in seen:
        print("not compiled for AVX2")
    if not tiled:
        print("no tile instructions at all")
    return 1 if strays or lesser or outside or not tiled or "N_AVX2" not in seen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
