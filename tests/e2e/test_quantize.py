"""`inferd quantize`, and the daemon on what it writes."""

import pytest
from client import Client
from daemon import ROOT, Daemon, run

SMALL = ROOT / "models" / "demo-small"


@pytest.mark.parametrize("method", ["int8", "fp8", "int4-rtn", "int4-awq"])
def test_what_is_written_is_served(tmp_path, method):
    out = tmp_path / "out"
    group = [] if method in ("int8", "fp8") else ["--group-size", 32]
    result = run("quantize", "--method", method, *group, SMALL, out, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"wrote {out}\n"
    assert "layer 4 of 4" in result.stderr
    assert list(tmp_path.iterdir()) == [out]
    with Daemon(model=out) as daemon, daemon.channel() as channel:
        assert Client(channel).text([("user", "What is paged attention?")], temperature=0,
                                    max_tokens=64).strip() == (
            "Paged attention keeps the KV cache in fixed-size blocks, so memory is not wasted on "
            "unused space.")


def test_refusals_are_one_line(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("text")
    for arguments, code, message in [
            (["int4-awq", SMALL, tmp_path / "out"], 1, "--group-size must be one of 32"),
            (["int8", SMALL, full], 1, "exists and is not empty"),
            (["int8", tmp_path / "nowhere", tmp_path / "out"], 1, "does not exist"),
            (["int8", full, tmp_path / "out"], 1, "no model.safetensors"),
            (["int5", SMALL, tmp_path / "out"], 2, "int5")]:
        result = run("quantize", "--method", *arguments)
        assert result.returncode == code, arguments
        assert message in result.stderr
        assert result.stderr.count("\n") == 1 and result.stderr.startswith("inferd: ")
    assert list(tmp_path.iterdir()) == [full]
