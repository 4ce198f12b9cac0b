"""The device benchmarks without a device: floors, records, the script with a program that stands in."""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import device_floors as floors
import device_record

LLAMA = floors.SHAPES["llama3-8b"]
BF16 = floors.Device(3.0e12, 800e12, 650e12)
FP8 = floors.Device(3.0e12, 1350e12, 650e12)


class Floors(unittest.TestCase):
    """Against figures that were worked out by hand for an H100 that copies 3.0 TB/s."""

    def test_sizes(self):
        self.assertAlmostEqual(LLAMA.linear_parameters() / 1e6, 6979.3, places=1)
        self.assertEqual(LLAMA.layers * LLAMA.kv_bytes_per_token(), 131072)

    def check(self, device, weights, batch, expected):
        for context, ms in zip((512, 2048, 8192), expected):
            self.assertAlmostEqual(1e3 * floors.decode(LLAMA, device, weights, batch, context), ms,
                                   delta=0.011, msg=f"{weights} {batch} x {context}")

    def test_decode(self):
        self.check(BF16, "bf16", 1, (5.03, 5.09, 5.36))
        self.check(BF16, "bf16", 64, (6.43, 10.73, 27.91))
        self.check(FP8, "fp8", 1, (2.70, 2.77, 3.03))
        self.check(FP8, "fp8", 256, (8.57, 25.75, 94.47))  # bound by arithmetic
        self.check(BF16, "int4", 1, (1.57, 1.64, 1.91))
        self.check(BF16, "int4", 128, (5.26, 13.85, 48.21))

    def test_prefill(self):
        for tokens, ms in ((512, 9.04), (2048, 37.4), (8192, 170.0)):
            self.assertAlmostEqual(1e3 * floors.prefill(LLAMA, BF16, tokens), ms, delta=0.1)

    def test_ops(self):
        def us(name, rows, context=1):
            return 1e6 * floors.op(LLAMA, BF16, name, "bf16", rows, context)
        self.assertAlmostEqual(us("qkv", 1), 16.8, delta=0.05)
        self.assertAlmostEqual(us("gate_up", 64), 78.3, delta=0.05)
        self.assertAlmostEqual(us("head", 1), 350, delta=0.5)
        self.assertAlmostEqual(us("attention", 1, 2048), 2.8, delta=0.05)
        self.assertAlmostEqual(us("gate_up", 2048), 2 * 2048 * 4096 * 28672 / 800e12 * 1e6, places=3)
        self.assertIsNone(floors.op(LLAMA, BF16, "sum", "bf16", 1, 1))


DEVICE = {"what": "device", "description": "cuda:0: NVIDIA H100 80GB HBM3, sm_90, 132 multiprocessors",
          "shape": "llama3-8b", "format": "bf16"}
COPY = {"what": "copy", "tb_per_s": 3.0}
STEP = {"what": "decode", "format": "bf16", "sequences": 1, "context": 2048, "rows": 1, "ms": 5.8,
        "host_ms": 0.2}


class Records(unittest.TestCase):
    def test_a_run_in_the_record(self):
        lines = [DEVICE, COPY, {"what": "peak", "format": "bf16", "tflops": 750},
                 {"what": "start", "format": "bf16", "open_s": 0.5, "pack_s": 2.0, "bytes": 15.01e9},
                 STEP, {**STEP, "what": "prefill", "context": 2048, "ms": 50.0},
                 {"what": "decode", "format": "bf16", "sequences": 256, "context": 8192,
                  "skipped": "no memory for its cache"},
                 {"what": "op", "op": "qkv", "format": "bf16", "rows": 1, "context": 1, "us": 20.0},
                 {"what": "peer", "library": "torch linear", "op": "qkv", "format": "bf16",
                  "rows": 1, "context": 1, "us": 19.0},
                 {"what": "peer", "library": "other", "op": "qkv", "format": "bf16", "rows": 1,
                  "context": 1, "us": 18.0},
                 {"what": "sample", "how": "greedy", "rows": 256, "us": 60.0}]
        name, text = device_record.record(lines, "2026-11-23")
        self.assertEqual(name, "2026-11-23-cuda-0-nvidia-h100-80gb-hbm3.md")
        for row in ("| 1 | 2048 | 5.800 | 5.093 | 88 % | 0.200 |",
                    "| 256 | 8192 | no memory for its cache | – | – | – |",
                    "| qkv | 1 | 1 | 20.00 | 16.78 | 84 % | 18.0 (other) |",
                    "| greedy | 256 | 60.0 |", "Cold start without a disk: 2.50 s",
                    "bf16 products 750 TFLOP/s, both measured"):
            self.assertIn(row, text)

    def test_what_was_not_measured_is_said(self):
        _, text = device_record.record([DEVICE, COPY, STEP], "2026-11-23")
        self.assertIn("800 TFLOP/s of H100, not measured here", text)
        self.assertNotIn("### ops", text)
        for missing in ([COPY, STEP], [DEVICE, STEP], []):
            with self.assertRaises(SystemExit):
                device_record.record(missing, "2026-11-23")

    def test_a_line_that_was_cut_is_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "device_bf16.jsonl")
            path.write_text("\n".join(map(json.dumps, (DEVICE, COPY, STEP))) + '\n{"what": "deco')
            self.assertEqual(device_record.read(pathlib.Path(folder)), [DEVICE, COPY, STEP])


STAND_IN = """#!/bin/sh
echo "$@" >>"$CALLS"
case "$*" in *"--format int4"*) exit 1 ;; esac
printf '%s\\n' '{device}' '{copy}' '{step}'
"""


class Script(unittest.TestCase):
    def run_script(self, *flags):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "device_bench")
            program.write_text(STAND_IN.format(device=json.dumps(DEVICE), copy=json.dumps(COPY),
                                               step=json.dumps(STEP)))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            calls = pathlib.Path(folder, "calls")
            calls.touch()
            results = pathlib.Path(folder, "results")
            environment = {**os.environ, "DEVICE_BIN": folder, "CALLS": str(calls)}
            done = subprocess.run([BENCHMARKS / "device.sh", results, *flags], env=environment,
                                  capture_output=True, text=True, timeout=300, check=False)
            records = sorted(path.name for path in results.glob("*.md"))
            return done.returncode, calls.read_text().splitlines(), records

    def test_formats_one_after_another(self):
        code, calls, records = self.run_script("--formats", "bf16,fp8", "--shape", "tiny")
        self.assertEqual(code, 0)
        self.assertEqual(len(calls), 2)
        self.assertIn("--backend cuda --shape tiny --format bf16 --seconds 0.5", calls[0])
        self.assertNotIn("--parts", calls[0])
        self.assertIn("--parts copy,peak,decode,prefill,product", calls[1])
        self.assertEqual(len(records), 1)

    def test_a_format_that_fails_leaves_the_others_their_turn(self):
        code, calls, records = self.run_script("--formats", "int4,bf16", "--shape", "tiny")
        self.assertEqual((code, len(calls), len(records)), (1, 2, 1))

    def test_flags_that_are_not_known(self):
        self.assertEqual(self.run_script("--fromat", "bf16")[0], 2)
        self.assertEqual(self.run_script("--formats")[0], 2)

    def test_peers_without_their_library(self):
        done = subprocess.run([sys.executable, "-B", BENCHMARKS / "device_peers.py", "--shape",
                               "tiny", "--seconds", "0.01"],
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
