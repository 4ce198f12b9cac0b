"""The daemon with a GPU, which the tests' emulation of one takes the place of.

build/release/emulated has the daemon beside a libinferd_cuda.so whose runtime, driver and
management library are the tests' own. It is built where there is a CUDA toolkit.
"""

import json
import os
import pathlib
import re
import subprocess
import time

import grpc
import pytest
from client import Client, error_details, streamed_text
from daemon import BINARY, MODEL, ROOT, Daemon
from ranks import rank_processes, wait_running

EMULATED = pathlib.Path(BINARY).resolve().parents[1] / "emulated"
FLAGS = ("--backend=cuda", "--max-model-len=128", "--engine.max_running=2",
         "--engine.max_batched_tokens=64", "--engine.step_timeout=60s")
ANSWER = {"max_tokens": 12, "ignore_eos": True, "temperature": 0.0}
KINDS = ("weights", "kv_cache", "activations", "other")
KERNEL_SECONDS = "inferd_engine_step_kernel_seconds"
GPU_NAMES = ("inferd_gpu_", KERNEL_SECONDS)
READINGS = ("inferd_gpu_utilization_ratio", "inferd_gpu_memory_used_bytes", "inferd_gpu_memory_total_bytes",
            "inferd_gpu_temperature_celsius", "inferd_gpu_power_watts")

pytestmark = pytest.mark.skipif(not (EMULATED / "libinferd_cuda.so").exists(),
                                reason="no CUDA toolkit: the emulated GPU is not built")


def environment(libraries=EMULATED, **more):
    return {"LD_LIBRARY_PATH": str(libraries), **more}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The demo's model with its first layer alone: emulation is slow, and what it says no matter."""
    folder = tmp_path_factory.mktemp("one-layer")
    for path in MODEL.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((MODEL / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    return folder


@pytest.fixture(scope="module")
def start(model):
    """Starts a daemon."""
    def go(*flags, wait=True, env=None):
        return Daemon(*FLAGS, *flags, model=model, binary=EMULATED / "inferd", env=env or environment(),
                      wait=wait)
    return go


class Faults:
    """What goes wrong next on the GPU, of any process: the words of emulated/plugin.cc."""

    def __init__(self, path):
        self.path = path
        self.set()

    def set(self, *words):
        # In place: whoever has it open sees it.
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("".join(word + "\n" for word in words))

    def environment(self):
        return environment(EMULATED_CUDA=str(self.path))

    def wait_over(self, left=""):
        end = time.monotonic() + 60
        while self.path.read_text() != left:
            assert time.monotonic() < end, "nothing of the kind came to pass"
            time.sleep(0.01)


@pytest.fixture
def faults(tmp_path):
    return Faults(tmp_path / "faults")


@pytest.fixture(scope="module")
def undisturbed(start):
    with start() as daemon, daemon.channel() as channel:
        return Client(channel).text("The sea is", **ANSWER)


def planned_memory(model, *flags):
    """What --dry-run prints, as {rank: {kind: bytes}}."""
    done = subprocess.run([EMULATED / "inferd", "serve", "--model", model, "--dry-run", *FLAGS, *flags],
                          env={**os.environ, **environment()}, capture_output=True, text=True, timeout=60,
                          check=True)
    ranks = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"gpu memory  rank (\d+), (.*) bytes", line)
        if match:
            ranks[match[1]] = {kind: int(count) for kind, count in
                               (part.split() for part in match[2].split(", "))}
    assert ranks, done.stdout
    return ranks


def shown_metrics():
    text = (ROOT / "deploy/grafana/dashboards/inferd-host.json").read_text()
    return set(re.findall(rf"\b(?:{'|'.join(GPU_NAMES)})\w*", text))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_memory_is_what_a_dry_run_prints(executor, start, model):
    flag = f"--executor={executor}"
    plan = planned_memory(model, flag)
    assert set(plan) == {"0"} and tuple(plan["0"]) == KINDS
    with start(flag) as daemon, daemon.channel() as channel:
        for kind in KINDS:
            assert daemon.metric("inferd_gpu_memory_bytes", rank="0", gpu="0", kind=kind) == plan["0"][kind]
        # All kinds together are the GPU, and what nobody planned is rounding to pages.
        assert daemon.metric("inferd_gpu_memory_bytes") == 256 << 20
        assert daemon.metric("inferd_gpu_memory_bytes", kind="unplanned") < 4096
        assert daemon.metric("inferd_gpu_info", gpu="0", pci_bus_id="0000:40:00.0") == 1
        # Of three GPUs that the management library knows it is the last.
        assert daemon.metric("inferd_gpu_utilization_ratio", gpu="0") == 0.12
        assert daemon.metric("inferd_gpu_memory_used_bytes", gpu="0") == 102
        assert daemon.metric("inferd_gpu_memory_total_bytes", gpu="0") == 1000
        assert daemon.metric("inferd_gpu_temperature_celsius", gpu="0") == 42
        assert daemon.metric("inferd_gpu_power_watts", gpu="0") == 202.5
        # What a CPU's daemon has not is on the dashboards.
        names = {series.partition("{")[0] for series in daemon.metrics()}
        assert {name for name in names if name.startswith(GPU_NAMES)} - {f"{KERNEL_SECONDS}_count"} == shown_metrics()
        Client(channel).text("The sea is", **ANSWER)
        assert daemon.metric("inferd_engine_step_kernel_seconds_count", kind="prefill") >= 1
        assert daemon.metric("inferd_engine_step_kernel_seconds_sum", kind="decode") > 0


def holds_a_gpu(pid):
    return any("emulated-gpu" in os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def test_the_daemon_itself_holds_no_gpu(start):
    with start() as daemon:
        assert [holds_a_gpu(pid) for pid in rank_processes(daemon).values()] == [True]
        assert not holds_a_gpu(daemon.process.pid)
    with start("--executor=thread") as daemon:
        assert not rank_processes(daemon) and holds_a_gpu(daemon.process.pid)


def test_without_the_management_library_there_are_no_readings(tmp_path, start):
    (tmp_path / "libcuda.so.1").symlink_to(EMULATED / "libcuda.so.1")
    with start(env=environment(tmp_path)) as daemon:
        names = {series.partition("{")[0] for series in daemon.metrics()}
        assert "inferd_gpu_memory_bytes" in names
        assert not names & set(READINGS)
        daemon.wait_log(r"libnvidia-ml\.so\.1 cannot be opened")


def test_processors_have_no_gpu_series(shared_daemon):
    assert not [series for series in shared_daemon.metrics() if series.startswith(GPU_NAMES)]


@pytest.mark.parametrize("word", ["kernel", "graph"])
def test_a_rank_with_a_broken_gpu_ends_and_is_started_again(word, faults, undisturbed, start):
    with start("--parallel.max_failed_starts=1000", "--parallel.max_backoff=200ms",
               env=faults.environment()) as daemon, daemon.channel() as channel:
        client = Client(channel)
        assert client.text("The sea is", **ANSWER) == undisturbed
        first = rank_processes(daemon)[0]
        # The rank's end, and no memory for any that comes after it, until something is done.
        faults.set(word, "memory!")
        stream = client.stream("The sea is", **ANSWER)
        faults.wait_over("memory!\n")
        daemon.wait_log(r"ranks lost: .*cuda: .*cudaErrorFake")
        daemon.wait_log(r"the ranks do not start: .*cuda: .*cudaErrorFake")
        assert daemon.http("/readyz")[0] == 503
        with pytest.raises(grpc.RpcError) as refused:
            client.text("hello", max_tokens=1)
        info, _, retry = error_details(refused.value)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert info.reason == "RANKS_RESTARTING" and retry is not None
        assert first not in rank_processes(daemon).values()
        faults.set()
        # The text goes on as if nothing had been.
        assert streamed_text(stream)[0] == undisturbed
        wait_running(daemon)
        assert daemon.metric("inferd_rank_losses_total") == 1
        assert client.text("The sea is", **ANSWER) == undisturbed
        assert daemon.stop() == 0


def test_a_gpu_that_breaks_in_a_thread_ends_the_daemon(faults, undisturbed, start):
    with start("--executor=thread", env=faults.environment()) as daemon, daemon.channel() as channel:
        client = Client(channel)
        assert client.text("The sea is", **ANSWER) == undisturbed
        faults.set("kernel")
        with pytest.raises(grpc.RpcError) as broken:
            client.text("The sea is", **ANSWER)
        assert broken.value.code() == grpc.StatusCode.UNAVAILABLE
        assert daemon.wait_exit() == 70
        assert "cudaErrorFake" in daemon.log()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_gpu_that_breaks_at_load_ends_the_start(executor, faults, start):
    faults.set("memory")
    with start(f"--executor={executor}", wait=False, env=faults.environment()) as daemon:
        assert daemon.wait_exit() == 1
        assert re.search(r"cuda: .*cudaErrorFake", daemon.log())
    faults.wait_over()
