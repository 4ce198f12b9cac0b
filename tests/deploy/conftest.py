"""What ships under deploy/ and clients/, tried against the real binary."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import daemon as daemon_module  # noqa: E402

daemon_module.generate_protos()


@pytest.fixture(scope="session")
def deploy():
    return daemon_module.ROOT / "deploy"


@pytest.fixture(scope="session")
def binary():
    return daemon_module.BINARY


@pytest.fixture(scope="session")
def shared_daemon():
    """One daemon for the tests that leave it as they found it."""
    with daemon_module.Daemon() as running:
        yield running
        assert running.process.poll() is None, "the daemon died:\n" + running.log()


@pytest.fixture(scope="session")
def api_key(tmp_path_factory):
    """(key file, secret) as `inferd key new` makes them."""
    made = daemon_module.run("key", "new", "--id", "test")
    assert made.returncode == 0, made.stderr
    secret, lines = made.stdout.split("\n", 1)
    path = tmp_path_factory.mktemp("keys") / "api_keys.yaml"
    path.write_text("keys:\n" + lines)
    path.chmod(0o600)
    return path, secret
