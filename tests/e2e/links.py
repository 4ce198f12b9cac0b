"""A second host, which is a network namespace at the end of a cable that can be made bad.

Needs root, iproute2 and /dev/net/tun; what uses it is skipped where they are missing.
"""

import os
import pathlib
import socket
import subprocess

import pytest
from daemon import BINARY

USER_LINK = str(pathlib.Path(os.environ.get("INFERD_BIN_DIR", pathlib.Path(BINARY).parent)) / "user_link")
WELL = {"delay": 0, "jitter": 0, "loss": 0, "rate": 0, "swaps": 0, "resets": 0}


def run(*command):
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


def free_ports(host, count):
    """The first of so many ports in a row that nobody had a moment ago."""
    for _ in range(100):
        with socket.socket() as first:
            first.bind((host, 0))
            port = first.getsockname()[1]
        taken = []
        try:
            for number in range(port, port + count):
                if number > 65000:
                    raise OSError
                taken.append(socket.create_server((host, number)))
        except OSError:
            continue
        finally:
            for listener in taken:
                listener.close()
        return port
    raise AssertionError("no free ports")


class Link:
    """This host (`hosts[0]`) and another (`hosts[1]`, where `prefix` runs commands).

    Faults as of user_link.cc: times in microseconds, the others of a million.
    """

    def __init__(self, seed=1, **faults):
        pid = os.getpid()
        self.name = f"inferd{pid}"
        self.interface = f"inf{pid}"
        network = f"10.98.{pid >> 6 & 255}."
        self.hosts = tuple(network + str((pid << 2 & 252) + end) for end in (1, 2))
        self.prefix = ("ip", "netns", "exec", self.name)
        self.seed, self.usual, self.process = seed, {**WELL, **faults}, None

    def __enter__(self):
        if not run("ip", "netns", "add", self.name) or not os.path.exists("/dev/net/tun"):
            self.__exit__()
            pytest.skip("needs root, ip, network namespaces and /dev/net/tun")
        self.process = subprocess.Popen(
            [USER_LINK, "-", self.name, self.interface, str(self.seed), self.text(self.usual)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "up\n"
        for where, host in zip(((), ("-n", self.name)), self.hosts):
            assert run("ip", *where, "addr", "add", host + "/30", "dev", self.interface)
            assert run("ip", *where, "link", "set", self.interface, "up")
        assert run("ip", "-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        run("ip", "netns", "del", self.name)

    @staticmethod
    def text(faults):
        return " ".join(str(faults[name]) for name in WELL)

    def make(self, **faults):
        """From now on the usual faults, but for these."""
        self.process.stdin.write(self.text({**self.usual, **faults}) + "\n")
        self.process.stdin.flush()
