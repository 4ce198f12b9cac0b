"""Starts the programs under comparison, waits for them and reads what they took."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


class Failed(Exception):
    """A program did not do what was asked; the text says which and how it ended."""


def run(command, timeout):
    """Runs to the end. Returns (stdout, wall seconds, peak memory in bytes).

    Through a small process of its own, so that the peak is this command's alone.
    """
    code = ("import resource,subprocess,sys;"
            "p=subprocess.run(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024,file=sys.stderr);"
            "sys.exit(p.returncode)")
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", code, *map(str, command)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            out, error = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Failed(f"{command[0]}: no end after {timeout} s") from None
    text = error.decode(errors="replace")
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit status {process.returncode}: {text[-600:]}")
    return out.decode(), time.monotonic() - begin, int(text.strip().splitlines()[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status_bytes(pid, field):
    """VmHWM, VmRSS … of a process."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024


class Server:
    """A server that was started and is ready; stop() ends it."""

    def __init__(self, command, health_url, log, timeout):
        self.begun = time.monotonic()
        self._log = open(log, "wb")
        self._process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                         stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        try:
            self._wait_ready(health_url, timeout)
        except BaseException:
            self.stop()
            raise
        self.ready_after = time.monotonic() - self.begun

    def _wait_ready(self, url, timeout):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() - self.begun < timeout:
            if self._process.poll() is not None:
                raise Failed(f"{self._process.args[0]} ended; see {self._log.name}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                with opener.open(url, timeout=5) as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.005)
        raise Failed(f"{self._process.args[0]}: not ready after {timeout} s; see {self._log.name}")

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@contextlib.contextmanager
def busy_neighbour(core):
    """Another process that computes on one core, for ever."""
    code = f"import os\nos.sched_setaffinity(0,{{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(0.3)
        yield
    finally:
        process.kill()
        process.wait()


def drop_page_cache(paths):
    """Asks the kernel to forget the files' pages. Returns the share still resident."""
    files = [f for path in map(pathlib.Path, paths)
             for f in (path.iterdir() if path.is_dir() else [path]) if f.is_file()]
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return max((resident_share(path) for path in files), default=0.0)


def resident_share(path):
    """The share of a file's pages in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                          ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = os.path.getsize(path)
    if size == 0:
        return 0.0
    pages = -(-size // os.sysconf("SC_PAGE_SIZE"))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        address = libc.mmap(None, size, 1, 1, descriptor, 0)  # PROT_READ, MAP_SHARED
    finally:
        os.close(descriptor)
    if address in (None, ctypes.c_void_p(-1).value):
        raise Failed(f"cannot map {path}")
    flags = (ctypes.c_ubyte * pages)()
    try:
        if libc.mincore(address, size, flags) != 0:
            raise Failed(f"mincore of {path} failed")
    finally:
        libc.munmap(address, size)
    return sum(flag & 1 for flag in flags) / pages
