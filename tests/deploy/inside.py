"""A daemon inside a chroot, asked from outside."""

import os
import re
import signal
import subprocess
import time

from daemon import MODEL


class InsideDaemon:
    """`arguments` in `chroot` as `user`, without capabilities. Use as a context manager."""

    def __init__(self, chroot, arguments, log_path, user, env=()):
        self._log_path = log_path
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **dict(env)}
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                chroot.command(*arguments, user=user, capabilities=False), stdout=log, stderr=log,
                env=environment, start_new_session=True)

    def __enter__(self):
        match = self.wait_log(r"gRPC port (\d+)")
        self.port = int(match[1])
        self.wait_log("ready after")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def log(self):
        return self._log_path.read_text(errors="replace")

    def wait_log(self, pattern, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            match = re.search(pattern, self.log())
            if match:
                return match
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(f"no {pattern!r} in:\n{self.log()}")

    def daemon_pid(self):
        """The daemon's process id as seen from here: the child of unshare."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children, encoding="ascii") as file:
            return int(file.read().split()[0])


MODEL_BIND = (str(MODEL), "/models")
