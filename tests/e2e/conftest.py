import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import daemon as daemon_module  # noqa: E402

daemon_module.generate_protos()


@pytest.fixture(scope="session")
def shared_daemon():
    """One daemon for the tests that leave it as they found it."""
    with daemon_module.Daemon() as running:
        yield running
        assert running.process.poll() is None, "the daemon died:\n" + running.log()


@pytest.fixture
def client(shared_daemon):
    from client import Client
    with shared_daemon.channel() as channel:
        yield Client(channel)
