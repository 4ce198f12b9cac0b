"""Packed weights kept on disk: what later starts say and serve."""

import pytest
from client import Client
from daemon import ROOT, Daemon

SMALL = ROOT / "models" / "demo-small"
QUESTION = [("user", "What is paged attention?")]


def answer(daemon):
    with daemon.channel() as channel:
        return Client(channel).text(QUESTION, temperature=0, max_tokens=64)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def start(cache):
    return Daemon("--packed-cache", str(cache), model=SMALL)


def test_later_starts_map_what_the_first_one_kept(cache):
    with Daemon(model=SMALL) as daemon:
        expected = answer(daemon)
    with start(cache) as daemon:
        assert answer(daemon) == expected
        daemon.wait_log("packed weights: kept in")
    files = list(cache.iterdir())
    assert [file.suffix for file in files] == [".packed"]
    assert files[0].stat().st_mode & 0o777 == 0o600
    with start(cache) as daemon:
        assert "mapped and checked in" in daemon.log()
        assert answer(daemon) == expected
    assert list(cache.iterdir()) == files


def test_damage_is_named_and_repaired(cache):
    with start(cache) as daemon:
        expected = answer(daemon)
        daemon.wait_log("packed weights: kept in")
    file = next(cache.iterdir())
    good = file.read_bytes()
    file.write_bytes(good[:3 << 20] + bytes([good[3 << 20] ^ 1]) + good[(3 << 20) + 1:])
    with start(cache) as daemon:
        assert "is not used: it is damaged" in daemon.log()
        daemon.wait_log("packed weights: kept in")
        assert answer(daemon) == expected
    assert file.read_bytes() == good


def test_a_place_that_cannot_be_written_costs_one_line(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a directory")
    with start(place) as daemon:
        daemon.wait_log("packed weights: not kept in")
        assert answer(daemon)
        assert daemon.log().count("packed weights:") == 1
