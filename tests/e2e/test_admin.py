"""The admin service, reload and the service manager, with the real binary."""

import os
import signal
import socket
import stat
import time

import pytest
from client import Client
from daemon import Daemon, run


@pytest.fixture
def socket_path(tmp_path):
    return tmp_path / "admin.sock"


def admin(path, *arguments):
    return run("admin", *arguments, "--addr", f"unix:{path}")


def test_the_admin_socket(socket_path, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("log: {level: info}\n")
    with Daemon("--config", str(config), f"--admin-address=unix:{socket_path}") as daemon:
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
        assert admin(socket_path, "requests").stdout == ""
        config.write_text("log: {level: debug}\nengine: {depth: 1}\n")
        reload = admin(socket_path, "reload")
        assert reload.returncode == 0, reload.stderr
        assert "applied: log.level debug" in reload.stdout
        assert "needs a restart: engine.depth" in reload.stdout
        config.write_text("log: {level: loud}\n")
        bad = admin(socket_path, "reload")
        assert bad.returncode == 1 and "INVALID_ARGUMENT" in bad.stderr
        assert daemon.metric("inferd_config_last_reload_successful") == 0
        assert admin(socket_path, "log-level", "warn").returncode == 0
        assert admin(socket_path, "log-level", "loud").returncode == 1
        assert admin(socket_path, "abort", "nobody").returncode == 1
        with daemon.channel() as channel:
            stream = Client(channel).stream("Tell me a long story.", n=8, max_tokens=900,
                                            ignore_eos=True)
            next(iter(stream))
            listed = admin(socket_path, "requests").stdout
            assert "running" in listed and "story" not in listed
            request_id = listed.split("\t")[0]
            assert admin(socket_path, "abort", request_id).stdout == "1 aborted\n"
            with pytest.raises(Exception, match="ABORTED|ended by an operator"):
                list(stream)
        assert admin(socket_path, "drain").stdout == "0 live\n"
        assert daemon.http("/readyz")[0] == 503
        assert daemon.process.poll() is None


def test_reload_takes_new_keys(tmp_path):
    def key(name):
        secret, _, lines = run("key", "new", "--id", name).stdout.partition("\n")
        return secret, lines

    (first, first_lines), (second, second_lines) = key("first"), key("second")
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + first_lines)

    def models(secret):
        return run("models", "--addr", daemon.address, env={"INFERD_API_KEY": secret}).returncode

    with Daemon(f"--api-keys-file={path}") as daemon:
        assert (models(first), models(second)) == (0, 1)
        path.write_text("keys:\n" + second_lines)
        daemon.send(signal.SIGHUP)
        daemon.wait_log("taken over: 1 API keys")
        assert (models(first), models(second)) == (1, 0)
        path.write_text("keys: [" + second)
        daemon.send(signal.SIGHUP)
        daemon.wait_log("the configuration is bad")
        assert second not in daemon.log()
        assert models(second) == 0


class Manager:
    """What systemd has at the other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.seen = []

    def wait(self, text, seconds=60):
        """Everything received up to the first message that has `text`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                self.seen.append(self.socket.recv(4096).decode())
            except TimeoutError:
                break
            if text in self.seen[-1]:
                return self.seen
        raise AssertionError(f"no {text!r} in {self.seen}")

    def quiet(self, seconds):
        """What comes within that time."""
        end, seen = time.monotonic() + seconds, []
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                seen.append(self.socket.recv(4096).decode())
            except TimeoutError:
                break
        return seen


def test_the_service_manager_is_told(tmp_path):
    manager = Manager(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    with Daemon(env=environment) as daemon:
        assert manager.wait("READY=1")[0].startswith("EXTEND_TIMEOUT_USEC=")
        manager.wait("WATCHDOG=1", 5)
        manager.wait("WATCHDOG=1", 5)
        daemon.send(signal.SIGHUP)
        manager.wait("RELOADING=1\nMONOTONIC_USEC=", 10)
        manager.wait("READY=1", 10)
        # A process that does not run is silent; so is one whose engine does not move.
        os.kill(daemon.process.pid, signal.SIGSTOP)
        manager.quiet(0.3)
        assert manager.quiet(1) == []
        os.kill(daemon.process.pid, signal.SIGCONT)
        manager.wait("WATCHDOG=1", 5)
        daemon.send(signal.SIGTERM)
        manager.wait("STOPPING=1", 10)
        assert daemon.wait_exit() == 0
