"""The daemon on AMX tiles: those of the processor, or, where it has none, with every instruction
trapped and interpreted (tests/kernels/cpu/tile_trap.h)."""

import os
import pathlib
import platform

import pytest
from client import Client, streamed_text
from daemon import BINARY, Daemon

TRAPPED = pathlib.Path(os.environ.get("INFERD_BIN_DIR", pathlib.Path(BINARY).parent)) / "inferd_trapped_tiles"
QUESTION = "What is the largest of 28, 74, 25, 41?"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is of x86-64")
def test_a_chat_by_tiles(client):
    with Daemon("--activations=bf16", "--threads=2", binary=TRAPPED) as daemon:
        assert "bf16 by AMX" in daemon.log(), daemon.log()
        with daemon.channel() as channel:
            by_tiles = Client(channel)
            answer = by_tiles.text(QUESTION, temperature=0)
            streamed, _ = streamed_text(by_tiles.stream(QUESTION, temperature=0))
    assert streamed == answer
    # Rounding activations changes few answers, and not this one.
    assert answer == client.text(QUESTION, temperature=0)
