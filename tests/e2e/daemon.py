"""The real binary as a child process, and real clients for it."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("INFERD_BINARY", str(ROOT / "build/release/bin/inferd"))
GENERATED = pathlib.Path(os.environ.get("INFERD_E2E_GENERATED", ROOT / "build/e2e"))
MODEL = ROOT / "models" / "demo"


def generate_protos():
    """Python code for the API, beside the build; makes it importable."""
    from grpc_tools import protoc
    target = GENERATED / "python"
    target.mkdir(parents=True, exist_ok=True)
    files = ["inferd/v1/common.proto", "inferd/v1/chat.proto", "inferd/v1/services.proto",
             "google/rpc/status.proto", "google/rpc/error_details.proto"]
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    code = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{include}",
                        f"--python_out={target}", f"--grpc_python_out={target}", *files])
    assert code == 0, "protoc failed"
    # `google` is a namespace that the protobuf package owns: extend it.
    import google
    google.__path__.append(str(target / "google"))
    sys.path.insert(0, str(target))


def run(*arguments, stdin=None, env=None, timeout=60):
    """Runs the binary to its end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("INFERD_")}
    environment.update(env or {})
    return subprocess.run([BINARY, *map(str, arguments)], input=stdin, env=environment,
                          capture_output=True, text=True, timeout=timeout, check=False)


class Daemon:
    """`inferd serve` on free ports. Use as a context manager. `prefix`: a command that runs it."""

    def __init__(self, *flags, model=MODEL, env=None, wait=True, prefix=(), binary=BINARY):
        self.log_path = GENERATED / f"daemon-{time.monotonic_ns()}.log"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("INFERD_")}
        environment.update(env or {})
        command = [*prefix, str(binary), "serve", "--model", str(model), "--port=0", "--http-port=0",
                   "--log-format=text", "--drain-delay=0s", *flags]
        self.started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment,
                                            start_new_session=True)
        self.ready_seconds = None
        if wait:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGINT)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern, timeout=60):
        """The first match of `pattern` in the log, once it is there."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            match = re.search(pattern, self.log())
            if match:
                return match
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended ({self.process.returncode}):\n{self.log()}")
            time.sleep(0.005)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log()}")

    def wait_ports(self):
        match = self.wait_log(r"gRPC port (\d+), HTTP port (\d+)")
        self.port, self.http_port = int(match[1]), int(match[2])

    def wait_ready(self):
        self.wait_ports()
        self.wait_log(r"ready after [0-9.]+ s: ")
        self.ready_seconds = time.monotonic() - self.started

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def channel(self):
        return grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0),
                                                            ("grpc.use_local_subchannel_pool", 1)])

    def http(self, path):
        """(status, text) of a GET on the side port."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        """{series with labels: value}"""
        status, text = self.http("/metrics")
        assert status == 200, text
        series = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                series[name] = float(value)
        return series

    def metric(self, name, **labels):
        """The sum of a metric's series whose labels agree."""
        total, found = 0.0, False
        for series, value in self.metrics().items():
            base, _, rest = series.partition("{")
            if base == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
                total, found = total + value, True
        assert found, f"no series {name} {labels}"
        return total

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout=60):
        return self.process.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.send(number)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the daemon did not stop:\n" + self.log())
        return self.process.returncode
