"""The load client against the real daemon, small."""

import json
import os
import pathlib
import subprocess

import pytest

BINARY = pathlib.Path(os.environ.get("INFERD_BIN_DIR", "build/release/bin")) / "serve_load"


@pytest.mark.parametrize("mode", [("--concurrency", "4"), ("--rate", "50")], ids=["closed", "open"])
def test_serve_load(shared_daemon, tmp_path, mode):
    if not BINARY.exists():
        pytest.skip(f"{BINARY} was not built")
    summary_file = tmp_path / "summary.json"
    subprocess.run([BINARY, "--addr", shared_daemon.address, *mode, "--requests", "12", "--prompt-tokens",
                    "16:40", "--output-tokens", "8", "--shared-prefix", "8", "--json", summary_file],
                   check=True, timeout=60, stdout=subprocess.DEVNULL)
    summary = json.loads(summary_file.read_text())
    assert summary["answered"] == 12
    assert summary["errors"] == {}
    assert summary["output_tokens_per_second"] * summary["seconds"] == pytest.approx(12 * 8)
    assert 0 < summary["ttft_ms"]["p50"] <= summary["ttft_ms"]["p99"] <= summary["e2e_ms"]["max"]
    assert 0 <= summary["good_share"] <= 1
