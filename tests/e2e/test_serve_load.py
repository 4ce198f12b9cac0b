"""The load client against the real daemon, small."""

import json
import os
import pathlib
import subprocess

import pytest
from daemon import Daemon, run
from test_tls import Authority

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


@pytest.mark.parametrize("protocol", ["grpc", "openai"])
def test_a_daemon_with_keys(tmp_path, protocol):
    if not BINARY.exists():
        pytest.skip(f"{BINARY} was not built")
    secret, _, lines = run("key", "new", "--id", "load").stdout.partition("\n")
    (tmp_path / "keys.yaml").write_text("keys:\n" + lines)
    flags = [f"--api-keys-file={tmp_path / 'keys.yaml'}"]
    trust = []
    if protocol == "grpc":
        certificate, key = Authority(tmp_path).sign("server")
        flags += [f"--tls-certificate={certificate}", f"--tls-key={key}"]
        trust = ["--tls-ca", tmp_path / "ca.pem"]
    with Daemon(*flags) as daemon:
        command = [BINARY, "--addr", daemon.address, "--protocol", protocol, *trust, "--requests", "4",
                   "--prompt-tokens", "16", "--output-tokens", "4"]
        without = {name: value for name, value in os.environ.items() if name != "INFERD_API_KEY"}
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, env=without, check=False)
        assert refused.returncode == 1 and "no model at" in refused.stderr
        loaded = subprocess.run(command, capture_output=True, text=True, timeout=60,
                                env=without | {"INFERD_API_KEY": secret}, check=False)
        assert loaded.returncode == 0 and "4 answered of 4" in loaded.stdout, loaded.stderr
